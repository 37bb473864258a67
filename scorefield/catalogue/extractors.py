"""Feature spaces that others have made, by file: pictures -> features."""

from scorefield.base.entries import Entries

extractors = Entries(
    {
        "efficientnet-lite0": "measure.extractor:efficientnet_lite0",
        "resnet50": "measure.extractor:resnet50",
    }
)
