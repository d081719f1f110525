"""Keys of programs that use the API. Control database."""

import hashlib
import hmac

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from scrm.api.scopes import SCOPES


def digest_of(token: str) -> str:
    """Return what is stored of a token. It has 256 random bits, so a plain hash cannot be searched back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class ApiKey(models.Model):
    """A program that may use the API. Of its token only a digest is kept; the prefix tells keys apart for people."""

    name = models.CharField("名称", max_length=64, unique=True)
    prefix = models.CharField("前缀", max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(
        models.CharField(max_length=32, choices=list(SCOPES.items())), verbose_name="权限", default=list
    )
    department_ids = ArrayField(
        models.BigIntegerField(), verbose_name="部门", default=list, blank=True, help_text="留空表示全部部门"
    )
    created_at = models.DateTimeField("创建时间", default=timezone.now)
    revoked_at = models.DateTimeField("吊销时间", null=True, blank=True)
    last_used_on = models.DateField("最近使用", null=True, blank=True)

    class Meta:
        verbose_name = "API 密钥"
        verbose_name_plural = "API 密钥"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def matches(self, token: str) -> bool:
        """Tell whether a token is this key's."""
        return hmac.compare_digest(digest_of(token), self.digest)
