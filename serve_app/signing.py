"""Image URLs: who holds one may see one picture, until it expires. Nothing is looked up to verify them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from itsdangerous import Signer
from pydantic import SecretStr

from deployments.errors import ServiceError


class UrlExpired(ServiceError):
    """The URL was made here, and its time is over."""


class UrlForged(ServiceError):
    """The URL's signature is missing or wrong."""


class UrlSigner:
    """Signs with its first key and accepts all, so that keys can be rotated while URLs of the old one still work."""

    def __init__(self, keys: Sequence[SecretStr], ttl_s: int) -> None:
        """Takes `keys`, newest first, and the seconds a URL works from its making."""
        self._ttl_s = ttl_s
        self._signers = tuple(
            Signer(key.get_secret_value(), salt="image-url", key_derivation="hmac", digest_method=hashlib.sha256)
            for key in keys
        )

    def sign(self, picture_id: str, made_unix_s: int) -> str:
        """The query of an image URL: `expires=UNIX_SECONDS&signature=…`."""
        expires = str(made_unix_s + self._ttl_s)
        return f"expires={expires}&signature={_signature(self._signers[0], picture_id, expires)}"

    def verify(self, picture_id: str, expires: str, signature: str, now_unix_s: float) -> int:
        """Checks the parts of an image URL; both query values as they came, empty where they are missing.

        Returns:
            The Unix second in which the URL expires: it works while now < expires.

        Raises:
            UrlForged: this service did not make the URL, or a key it was made with is no longer accepted.
            UrlExpired: it did, but too long ago.
        """
        # The whole text is compared, not its base64 value: every other spelling of a signature is another URL.
        given = signature.encode(errors="replace")
        accepted = [
            hmac.compare_digest(given, _signature(signer, picture_id, expires).encode()) for signer in self._signers
        ]
        if not any(accepted):
            raise UrlForged("The signature of this image URL is missing or wrong.")
        expires_unix_s = int(expires)
        if now_unix_s >= expires_unix_s:
            raise UrlExpired(f"This image URL has expired: image URLs work for {self._ttl_s} seconds.")
        return expires_unix_s


def _signature(signer: Signer, picture_id: str, expires: str) -> str:
    return signer.get_signature(f"{picture_id}?{expires}".encode(errors="replace")).decode()
