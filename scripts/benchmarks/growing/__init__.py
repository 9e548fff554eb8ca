"""How cost grows: axes, sizes, and what each takes."""
