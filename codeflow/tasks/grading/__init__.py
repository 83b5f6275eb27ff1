"""From a patch to a verdict: what it may touch, how tests run, and what is believed of them."""
