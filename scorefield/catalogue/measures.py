"""Measures of samples against data, by file: (samples, reference) -> their keys and figures."""

from scorefield.base.entries import Entries

measures = Entries(
    {
        "frechet": "measure.frechet:frechet_figure",
        "precision-recall": "measure.coverage:precision_recall_figures",
        "kid": "measure.kernel:kid_figure",
        "energy": "measure.kernel:energy_figure",
        "sliced-w2": "measure.apart:sliced_figure",
        "two-sample": "measure.ridge:two_sample_figure",
        "classes": "measure.classes:classes_figure",
        "inception": "measure.classes:inception_figure",
        "taught": "measure.ridge:taught_figure",
        "agreement": "measure.agreement:agreement_figure",
        "log-spectral": "measure.spectral:log_spectral_figure",
        "memorisation": "measure.memorise:memorisation_figure",
    }
)
