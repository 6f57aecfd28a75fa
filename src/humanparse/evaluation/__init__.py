"""Measures of quality. Nothing here runs a model.

- datasets.py: the folder of a labelled data set → samples → GroundTruth
- ground_truth.py: GroundTruth and Prediction, the maps that every measure compares
- overlap.py: one GroundTruth and one Prediction → PictureScore, a few kilobytes
- summary.py: PictureScores → the figures of the data set
- mean_iou.py, instance_ap.py, person_pq.py, swaps.py: the measures
- report.py, sheet.py: figures as text and JSON; the worst cases as a picture
- score_store.py: scores kept in a file
"""
