"""The sweep language: YAML file to checked configuration, parameter space and command line."""
