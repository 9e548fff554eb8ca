"""What people look at: tables and pictures, made from measured results alone."""
