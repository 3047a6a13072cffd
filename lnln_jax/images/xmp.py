"""XMP packets, without what is untrue of an enlarged and upright picture."""

from xml.dom import minidom
from xml.parsers.expat import ExpatError

_MOST_BYTES = 4 << 20
_MOST_MARKUP = 50_000  # some seconds of work
_TIFF = """
BitsPerSample Compression ImageLength ImageWidth NativeDigest Orientation PhotometricInterpretation
PlanarConfiguration ResolutionUnit SamplesPerPixel XResolution YCbCrPositioning YCbCrSubSampling
YResolution
"""
# By namespace; None stands for all names in it.
_STALE: dict[str, frozenset[str] | None] = {
    "http://ns.adobe.com/tiff/1.0/": frozenset(_TIFF.split()),
    "http://ns.adobe.com/exif/1.0/": frozenset(
        ["NativeDigest", "PixelXDimension", "PixelYDimension"]
    ),
    "http://ns.adobe.com/xap/1.0/": frozenset(["Thumbnails"]),
    "http://ns.adobe.com/photoshop/1.0/": frozenset(["ColorMode", "ICCProfile"]),
    # Places in the picture, in pixels or as the camera held it:
    "http://www.metadataworkinggroup.com/schemas/regions/": None,
    "http://ns.google.com/photos/1.0/panorama/": None,
    # Data behind or beside the picture in its file: gain and depth maps, films, further XMP.
    "http://ns.adobe.com/hdr-gain-map/1.0/": None,
    "http://ns.adobe.com/xmp/note/": None,
    "http://ns.google.com/photos/1.0/camera/": None,
    "http://ns.google.com/photos/1.0/container/": None,
    "http://ns.google.com/photos/1.0/depthmap/": None,
    "http://ns.google.com/photos/1.0/image/": None,
}


def kept_xmp(packet: bytes) -> bytes | None:
    """Returns an XMP packet without orientation, sizes, thumbnails and places in pixels.

    Args:
      packet: packet in UTF-8, UTF-16 or UTF-32.

    Returns:
      The packet in UTF-8; None for an empty one.

    Raises:
      ValueError: it is damaged, larger than 4 MiB or of too many elements.
    """
    if len(packet) > _MOST_BYTES:
        raise ValueError(f"XMP of more than {_MOST_BYTES >> 20} MiB")
    text = packet.decode(_encoding(packet)).strip("\0 \r\n\t\ufeff")
    if not text:
        return None
    if text.count("<") > _MOST_MARKUP:
        raise ValueError("XMP with too many elements")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities can be bombs
        raise ValueError("XMP with a document type")
    try:
        with minidom.parseString(text) as document:  # of a str, whatever encoding it declares
            for node in document.getElementsByTagName("*"):
                _strip(node)
            text = "".join(child.toxml() for child in document.childNodes)
    except (ExpatError, ValueError, LookupError, RecursionError) as error:
        raise ValueError(f"damaged XMP ({error})") from error
    return text.encode()


def _encoding(packet: bytes) -> str:
    """Returns the encoding that the first bytes of a packet, a mark or `<`, are in."""
    for name in ("utf-32-be", "utf-32-le", "utf-16-be", "utf-16-le"):
        if packet.startswith(("\ufeff".encode(name), "<".encode(name))):
            return name
    return "utf-8"


def _strip(node: minidom.Element) -> None:
    """Takes out attributes and children that are stale."""
    for attribute in list((node.attributes or {}).values()):
        if _is_stale(attribute):
            node.removeAttributeNode(attribute)
    node.childNodes[:] = [
        child
        for child in node.childNodes
        if not (isinstance(child, minidom.Element) and _is_stale(child))
    ]


def _is_stale(node: minidom.Element | minidom.Attr) -> bool:
    if node.nodeName == "tiff:Orientation":  # readers look for this, of whatever namespace
        return True
    if node.namespaceURI not in _STALE:
        return False
    names = _STALE[node.namespaceURI]
    return names is None or node.localName in names
