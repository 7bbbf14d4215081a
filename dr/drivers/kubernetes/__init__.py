"""A Kubernetes cluster as a provider: what runs in it is looked at, waited for, broken and put back."""
