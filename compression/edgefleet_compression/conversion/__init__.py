"""A person's ONNX file as a torch network, so that training and structural passes work on it.

``importer`` (torch-free) describes the graph as plain layers or lists what stands in the way; ``convert`` builds the network
and compares it with onnxruntime. The candidate's structure carries the description (architecture ``onnx_graph``), so a
saved candidate is rebuilt without the ONNX file and without pickling.
"""
