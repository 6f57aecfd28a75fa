"""Measures of quality. Nothing here runs a model.

datasets.py                     a labelled data set's folder → samples → Truth
ground_truth.py                  Truth and Found: the maps that every measure compares; a result → Found
overlap.py                      one Truth and one Found → PictureScore, a few kilobytes
summary.py                      PictureScores → the figures of the data set
mean_iou.py, instance_ap.py, person_pq.py, swaps.py     the measures
report.py, sheet.py, score_store.py figures as text and JSON; the worst cases as a picture; scores kept in a file
"""
