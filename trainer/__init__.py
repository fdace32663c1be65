"""Training on images: takes a manifest (path, label, split), gives back a run folder.

Needs torch, torchvision, numpy and safetensors (and Pillow, which torchvision brings), and nothing else of this
project: neither database nor Label Studio. Importing the package loads none of them; each module brings its own.
"""
