"""Many runs of one recipe with some fields varied: what they share is made once, and their trade-off is compared."""
