"""Model files: GGUF (``gguf``, ``dequantize``) and folders of safetensors (``folder``)."""
