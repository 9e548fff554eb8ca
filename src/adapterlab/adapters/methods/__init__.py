"""Ways to fine-tune, one file each; `adapterlab.adapters` names them all."""
