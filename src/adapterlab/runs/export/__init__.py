"""The merged model of a finished run, as a folder that other programs load."""
