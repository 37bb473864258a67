"""A model of real handwritten digits in a quarter of a minute.

Trained on 20,000 pictures, sampled in ten steps, two samples of each class.
"""

import scorefield as sf

model = sf.fit("digits", images=20_000, progress=False)

# %% Samples come from seeds: 0, 1, 2, .. where nothing else is said.
x0 = sf.generate(model, 20, labels=range(10), guidance=1.5, steps=10)
print("digits.png:", tuple(x0.shape))
sf.plot(x0, "digits.png", columns=10)
