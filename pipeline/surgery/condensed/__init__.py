"""Classes of condensed models; the files travel with the weights, so they import torch and transformers only."""
