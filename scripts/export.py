"""Write a run's merged model: python scripts/export.py run=<MLflow run id or folder> to=FOLDER."""

from adapterlab.app.cli import export

if __name__ == "__main__":
    export()
