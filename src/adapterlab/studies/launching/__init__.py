"""The packed launcher: from the jobs of a sweep to packs that have ended."""
