"""Where Services and Ingress hosts lead on loopback: what kube-proxy, a DNS and an ingress controller do elsewhere.

``table`` decides, purely, by what the API server shows; ``router`` listens, and leads connections to whoever is ready.
"""
