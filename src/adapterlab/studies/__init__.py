"""Studies: several runs under one name, grouped into packs, carried out, and summed up."""
