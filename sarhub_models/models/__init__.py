"""All that is done to one model: create it, import its weights, export it, publish it."""
