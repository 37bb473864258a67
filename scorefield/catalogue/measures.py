"""Measures of samples against data."""

from scorefield.measure import agreement, frechet_report, memorisation, precision_recall

measures = {
    "frechet": frechet_report,
    "precision-recall": precision_recall,
    "agreement": agreement,
    "memorisation": memorisation,
}
