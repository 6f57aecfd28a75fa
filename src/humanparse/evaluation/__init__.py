"""Measures of quality. Nothing here runs a model.

datasets.py                     a labelled data set's folder → samples → GroundTruth
ground_truth.py                  GroundTruth and Prediction: the maps that every measure compares; a result → Prediction
overlap.py                      one GroundTruth and one Prediction → PictureScore, a few kilobytes
summary.py                      PictureScores → the figures of the data set
mean_iou.py, instance_ap.py, person_pq.py, swaps.py     the measures
report.py, sheet.py, score_store.py figures as text and JSON; the worst cases as a picture; scores kept in a file
"""
