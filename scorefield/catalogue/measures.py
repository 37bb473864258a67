"""Measures of samples against data, by file: (samples, reference) -> their keys and figures."""

from scorefield.base.entries import Entries

measures = Entries(
    {
        "frechet": "measure.frechet:frechet_figure",
        "precision-recall": "measure.coverage:precision_recall_figures",
        "agreement": "measure.agreement:agreement_figure",
        "log-spectral": "measure.spectral:log_spectral_figure",
        "memorisation": "measure.memorise:memorisation_figure",
    }
)
