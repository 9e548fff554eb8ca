"""Training one run on several devices, a process each, with the results of one device."""
