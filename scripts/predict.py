"""Predict for the rows of a file: python scripts/predict.py run=... input=FILE output=FILE."""

from adapterlab.app.predict_command import predict

if __name__ == "__main__":
    predict()
