"""Measures of samples against data, by file: (samples, reference) -> their keys and figures."""

from scorefield.catalogue.preset import preset

measures = {
    "frechet": preset("measure.frechet:frechet_figure"),
    "precision-recall": preset("measure.coverage:precision_recall_figures"),
    "agreement": preset("measure.agreement:agreement_figure"),
    "memorisation": preset("measure.memorise:memorisation_figure"),
}
