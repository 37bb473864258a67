"""Measures of samples against data: (samples, reference) -> their keys and figures."""

from scorefield.measure.agreement import agreement_figure
from scorefield.measure.coverage import precision_recall_figures
from scorefield.measure.frechet import frechet_figure
from scorefield.measure.memorise import memorisation_figure

measures = {
    "frechet": frechet_figure,
    "precision-recall": precision_recall_figures,
    "agreement": agreement_figure,
    "memorisation": memorisation_figure,
}
