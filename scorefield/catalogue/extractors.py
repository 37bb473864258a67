"""Feature spaces, by file: pictures -> features."""

from scorefield.base.entries import Entries

extractors = Entries(
    {
        "judge": "measure.extractor:judge_features",
        "efficientnet-lite0": "measure.extractor:efficientnet_lite0",
        "resnet50": "measure.extractor:resnet50",
    }
)
