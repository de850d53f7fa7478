"""The real servers that tasks talk to. Each writes down what arrives, by the operation id that travels with it."""
