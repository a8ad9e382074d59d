"""Look inside a trained network: examples, maps of its layers, spectra of its weights."""
