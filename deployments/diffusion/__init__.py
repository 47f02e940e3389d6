"""The diffusion engine. Importing this package imports torch; `serve_app` never does.

torchvision comes with compiled operators that load only beside the torch build they were made for. Beside PyPI's CUDA
build they load; beside a CPU build they do not, and then torchvision fails at import because it describes two
operators that nobody declared. transformers and controlnet-aux import torchvision but use none of its operators, so
declaring the two is enough.
"""

from torch.library import Library

try:
    import torchvision
except RuntimeError:
    _operators = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    import torchvision  # noqa: F401
