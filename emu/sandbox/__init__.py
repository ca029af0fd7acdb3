"""Native code in Unicorn: the only folder that imports unicorn."""
