"""Train one run, or several with -m: python src/train.py adapter=dora model=mlp dataset=cifar10."""

from adapterlab.app.cli import train

if __name__ == "__main__":
    train()
