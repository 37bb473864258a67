"""A model of real handwritten digits in a quarter of a minute, and a picture of it."""

import scorefield as sf

model = sf.fit("digits", images=20_000, progress=False)
x0 = sf.generate(model, 20, labels=range(10), guidance=1.5, steps=10)
sf.plot(x0, "digits.png", columns=10)
print("digits.png:", tuple(x0.shape))
