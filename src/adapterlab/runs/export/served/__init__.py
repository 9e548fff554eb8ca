"""Code that goes into an MLflow model as it is; it imports nothing of AdapterLab.

MLflow runs a copy of one of these files to load the model, where AdapterLab need not be installed.
"""
