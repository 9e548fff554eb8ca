"""The README.md beside an adapter in PEFT's format: how to load it, with the classes it knows."""

import json
from collections.abc import Sequence

_CARD = """\
---
library_name: peft
{base}pipeline_tag: text-classification
---

# An adapter for a classifier of texts

````python
{imports}

{loading}
````

It has a head of {count} classes, which replaces that of the base.
"""


def peft_card(base_name: str | None, classes: Sequence[str]) -> str:
    """Return the text of the card, in Markdown.

    Args:
        base_name: what PEFT finds the base by; None if nobody else has it by a name.
        classes: in the order of the head's outputs.
    """
    labels = ", ".join(f"{number}: {json.dumps(name)}" for number, name in enumerate(classes))
    options = f"id2label={{{labels}}}, ignore_mismatched_sizes=True"
    if base_name is None:
        imports = (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForSequenceClassification"
        )
        loading = (
            "base = AutoModelForSequenceClassification.from_pretrained(\n"
            f'    "the base model", {options}\n'
            ")\n"
            'model = PeftModel.from_pretrained(base, "this folder").eval()'
        )
    else:
        imports = "from peft import AutoPeftModelForSequenceClassification"
        loading = (
            "model = AutoPeftModelForSequenceClassification.from_pretrained(\n"
            f'    "this folder", {options}\n'
            ").eval()"
        )
    base = "" if base_name is None else f"base_model: {json.dumps(base_name)}\n"
    return _CARD.format(base=base, imports=imports, loading=loading, count=len(classes))
