"""Tables of customers: first those of the department databases, then those of the control database.

Sharded tables are read with .using(sharding.alias(home)) and written inside sharding.atomic() only.
"""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Func
from django.utils import timezone

from customers.vocabulary import LOST_BY
from scrm.sharding import model_config
from scrm.sharding.fields import BucketField, CustomerIdField

EXTERNAL_USERID_LENGTH = 64


class NameGrams(Func):
    """The 1- and 2-grams of a name, as the database function of that name makes them (see migration 0001)."""

    function = "scrm_grams"
    output_field = ArrayField(models.TextField())


# ------------------------------------------------------------------------------------------- department databases
@model_config(shard_group="departments")
class Customer(models.Model):
    """A person outside the company. Django's key is customer_id; the table's is (customer_id, bucket)."""

    class Type(models.IntegerChoices):
        WECHAT = 1, "微信用户"
        WECOM = 2, "企业微信用户"

    class Gender(models.IntegerChoices):
        UNKNOWN = 0, "未知"
        MALE = 1, "男"
        FEMALE = 2, "女"

    customer_id = CustomerIdField("客户编号", primary_key=True)
    bucket = BucketField("分表")
    external_userid = models.TextField("外部联系人ID")
    # WeCom's, once synced
    name = models.TextField("姓名", default="", blank=True)
    avatar = models.TextField("头像", default="", blank=True)
    type = models.SmallIntegerField("类型", choices=Type.choices, default=Type.WECHAT)
    gender = models.SmallIntegerField("性别", choices=Gender.choices, default=Gender.UNKNOWN)
    unionid = models.TextField("UnionID", null=True, blank=True)
    corp_name = models.TextField("所在企业", default="", blank=True)
    position = models.TextField("职位", default="", blank=True)
    synced_at = models.DateTimeField("同步时间", null=True, blank=True)
    read_at = models.DateTimeField("读取时间", null=True, blank=True, help_text="when WeCom was asked for what is here")
    # ours
    mobile = models.TextField("手机号", default="", blank=True)
    attributes = models.JSONField("自定义属性", default=dict, blank=True)
    # the system's
    version = models.BigIntegerField("版本", default=1)
    created_at = models.DateTimeField("创建时间", default=timezone.now)
    updated_at = models.DateTimeField("更新时间", default=timezone.now)
    # derived, as of the last classification; no index on any of these, so that a night's writes stay HOT
    profile = models.TextField("客户画像", null=True)
    profile_updated_at = models.DateTimeField("画像更新时间", null=True)
    lifecycle = models.TextField("生命周期", null=True)
    purchase_count = models.IntegerField("购买次数", default=0)
    interaction_count = models.IntegerField("互动次数", default=0)
    total_amount = models.DecimalField("累计金额", max_digits=16, decimal_places=2, default=0)
    last_purchase_at = models.DateTimeField("最近购买", null=True)
    last_interaction_at = models.DateTimeField("最近互动", null=True)

    class Meta:
        db_table = "customers"
        verbose_name = "客户"
        verbose_name_plural = "客户"
        permissions = [
            ("view_mobile", "可以查看手机号明文"),
            ("export_customer", "可以导出客户"),
            ("move_customer", "可以迁移客户"),
        ]
        indexes = [
            models.Index(fields=["external_userid"], name="customers_external"),
            GinIndex(NameGrams("name"), name="customers_name_grams"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_userid


@model_config(shard_group="departments")
class Follow(models.Model):
    """The relation of a staff member and a customer. Rows stay when it ends: lost_at and lost_by say how.

    read_at: when WeCom was asked for what the row says. A read that was asked for earlier never writes over it.
    """

    class LostBy(models.TextChoices):
        """Empty: not lost, or nobody knows. customer: comes back by a newer add only, though reads go on showing it."""

        STAFF = "staff", LOST_BY["staff"]
        CUSTOMER = "customer", LOST_BY["customer"]
        BOTH = "both", LOST_BY["both"]
        TRANSFER = "transfer", LOST_BY["transfer"]
        STAFF_LEFT = "staff_left", LOST_BY["staff_left"]

    pk = models.CompositePrimaryKey("customer_id", "bucket", "userid")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    userid = models.TextField("员工账号")
    remark = models.TextField("备注", default="", blank=True)
    description = models.TextField("描述", default="", blank=True)
    mobiles = ArrayField(models.TextField(), verbose_name="备注手机号", default=list, blank=True)
    add_way = models.IntegerField("添加方式", default=0)
    state = models.TextField("渠道标识", default="", blank=True)
    created_at = models.DateTimeField("添加时间", default=timezone.now)
    lost_at = models.DateTimeField("流失时间", null=True, blank=True)
    lost_by = models.TextField("流失原因", choices=LostBy.choices, default="", db_default="", blank=True)
    tag_ids = ArrayField(models.TextField(), verbose_name="标签", default=list, blank=True)
    personal_tags = models.JSONField(
        "个人标签", default=list, db_default=models.Value([], models.JSONField()), blank=True,
        help_text="[{group, name}]: tags of one member of staff, which have no id",
    )  # fmt: skip
    read_at = models.DateTimeField("读取时间", null=True, blank=True)

    class Meta:
        db_table = "follows"
        verbose_name = "跟进关系"
        verbose_name_plural = "跟进关系"
        indexes = [models.Index(fields=["userid"], name="follows_userid")]

    def __str__(self) -> str:
        return f"{self.userid} → {self.customer_id}"


@model_config(shard_group="departments")
class CustomerTag(models.Model):
    """A tag that we, not WeCom, put on a customer."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "tag_id")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    tag_id = models.TextField("标签")
    created_at = models.DateTimeField("打标时间", default=timezone.now)

    class Meta:
        db_table = "customer_tags"
        verbose_name = "客户标签"
        verbose_name_plural = "客户标签"
        indexes = [models.Index(fields=["tag_id"], name="customer_tags_tag")]

    def __str__(self) -> str:
        return f"{self.tag_id} → {self.customer_id}"


@model_config(shard_group="departments")
class Note(models.Model):
    """What somebody wrote down about a customer."""

    pk = models.CompositePrimaryKey("customer_id", "bucket", "note_id")
    customer_id = CustomerIdField("客户编号")
    bucket = BucketField("分表")
    note_id = models.UUIDField("编号", default=uuid.uuid4)
    author = models.TextField("记录人")
    text = models.TextField("内容")
    created_at = models.DateTimeField("记录时间", default=timezone.now)

    class Meta:
        db_table = "notes"
        verbose_name = "跟进记录"
        verbose_name_plural = "跟进记录"

    def __str__(self) -> str:
        return self.text[:40]


@model_config(shard_group="departments")
class DirtyCustomer(models.Model):
    """A customer whose class may differ from the stored one.

    mark changes with each marking, so that a run clears only what it has seen. last_day is the newest day that an
    input lies on (null: no day): a run clears the mark only if that is before its as_of. awaits_segments: nobody has
    looked since which segments the customer is in and what to suggest for them (see customers.marks).
    """

    customer_id = CustomerIdField(primary_key=True)
    bucket = BucketField()
    mark = models.BigIntegerField()
    last_day = models.DateField(null=True)
    awaits_segments = models.BooleanField(default=True, db_default=True)

    class Meta:
        db_table = "dirty_customers"
        indexes = [
            models.Index(fields=["customer_id"], name="dirty_awaiting", condition=models.Q(awaits_segments=True)),
        ]

    def __str__(self) -> str:
        return str(self.customer_id)


@model_config(shard_group="departments")
class ProfileCount(models.Model):
    """How many customers of a bucket are in a class, kept by what each run moves."""

    pk = models.CompositePrimaryKey("bucket", "profile")
    bucket = models.SmallIntegerField()
    profile = models.TextField()
    customers = models.BigIntegerField(default=0)

    class Meta:
        db_table = "profile_counts"

    def __str__(self) -> str:
        return f"{self.bucket} {self.profile}: {self.customers}"


@model_config(shard_group="departments")
class CacheDeletion(models.Model):
    """A cache key that a writer could not delete; the keeper does as soon as Redis answers."""

    external_userid = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "cache_deletions"

    def __str__(self) -> str:
        return self.external_userid


# ------------------------------------------------------------------------------------------------ control database
class Department(models.Model):
    """A node of WeCom's department tree."""

    id = models.BigIntegerField("部门ID", primary_key=True)
    name = models.CharField("名称", max_length=128)
    parent = models.ForeignKey(
        "self", verbose_name="上级部门", null=True, blank=True, on_delete=models.SET_NULL, related_name="children"
    )
    order = models.BigIntegerField("排序", default=0)
    read_at = models.DateTimeField("同步时间", null=True, blank=True, editable=False, help_text="null: not WeCom's")

    class Meta:
        verbose_name = "部门"
        verbose_name_plural = "部门"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name


class Staff(models.Model):
    """An employee. Whoever is gone from WeCom is marked LEFT and stays: follows and behaviours name them."""

    class Status(models.IntegerChoices):
        ACTIVE = 1, "已激活"
        DISABLED = 2, "已禁用"
        INACTIVE = 4, "未激活"
        LEFT = 5, "退出企业"

    userid = models.CharField("账号", max_length=64, primary_key=True)
    name = models.CharField("姓名", max_length=64)
    departments = models.ManyToManyField(Department, verbose_name="部门", related_name="staff", blank=True)
    position = models.CharField("职务", max_length=128, default="", blank=True)
    status = models.SmallIntegerField("状态", choices=Status.choices, default=Status.ACTIVE)
    alias = models.CharField("别名", max_length=64, default="", blank=True)
    main_department = models.BigIntegerField("主部门", null=True, blank=True)
    read_at = models.DateTimeField("同步时间", null=True, blank=True, editable=False, help_text="null: not WeCom's")

    class Meta:
        verbose_name = "员工"
        verbose_name_plural = "员工"
        ordering = ["userid"]

    def __str__(self) -> str:
        return self.name


class TagGroup(models.Model):
    """A group of the tag library: WeCom's (is_wecom, its tags too), or the company's own.

    strategy_id: of the rule group (规则组) that WeCom's group belongs to; 0 for the company-wide library.
    """

    id = models.CharField("标签组ID", max_length=64, primary_key=True)
    name = models.CharField("名称", max_length=64)
    order = models.BigIntegerField("排序", default=0, help_text="大的在前")
    is_wecom = models.BooleanField("企业微信标签", default=False)
    strategy_id = models.IntegerField("规则组", default=0, editable=False)

    class Meta:
        verbose_name = "标签组"
        verbose_name_plural = "标签组"
        ordering = ["-order", "id"]

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    """A tag of the library. Renaming one touches no customer: they hold its id."""

    id = models.CharField("标签ID", max_length=64, primary_key=True)
    name = models.CharField("名称", max_length=64)
    group = models.ForeignKey(TagGroup, verbose_name="标签组", on_delete=models.CASCADE, related_name="tags")
    order = models.BigIntegerField("排序", default=0, help_text="大的在前")

    class Meta:
        verbose_name = "标签"
        verbose_name_plural = "标签"
        ordering = ["-order", "id"]

    def __str__(self) -> str:
        return self.name


class DirectoryEntry(models.Model):
    """Who lives where: external_userid is the identity, customer_id the address."""

    class State(models.TextChoices):
        CREATING = "creating", "创建中"
        LIVE = "live", "正常"
        MOVING = "moving", "迁移中"
        ERASING = "erasing", "删除中"

    external_userid = models.TextField("外部联系人ID", primary_key=True)
    customer_id = models.BigIntegerField("客户编号", unique=True)
    target_customer_id = models.BigIntegerField("迁移目标", null=True, blank=True, help_text="while moving")
    state = models.CharField("状态", max_length=8, choices=State.choices, default=State.CREATING)
    changed_at = models.DateTimeField("变更时间", default=timezone.now)

    class Meta:
        db_table = "directory"
        verbose_name = "客户目录"
        verbose_name_plural = "客户目录"
        indexes = [
            models.Index(fields=["changed_at"], name="directory_unsettled", condition=~models.Q(state="live")),
        ]

    def __str__(self) -> str:
        return self.external_userid


class Identity(models.Model):
    """A name that a shop or a mini-program has for a customer: unionid, openid, mobile, member_no, ….

    Only a digest of the value is kept (customers.identities). A value that several customers claim names nobody.
    owner: who says so (customers.identities); each replaces only its own. is_weak: so far only keys that are restricted
    to departments have said so. is_fresh: waiting behaviours have not been looked through for it yet.
    """

    kind = models.CharField("身份类型", max_length=32)
    digest = models.BinaryField("身份摘要", max_length=32)
    external_userid = models.TextField("外部联系人ID", db_index=True)
    owner = models.CharField("登记方", max_length=80)
    is_weak = models.BooleanField(default=False, db_default=False)
    is_fresh = models.BooleanField(default=True)
    created_at = models.DateTimeField("登记时间", default=timezone.now)

    class Meta:
        db_table = "identities"
        verbose_name = "身份映射"
        verbose_name_plural = "身份映射"
        constraints = [
            models.UniqueConstraint(fields=["kind", "digest", "external_userid", "owner"], name="identity_once"),
        ]
        indexes = [models.Index(fields=["id"], name="identities_fresh", condition=models.Q(is_fresh=True))]

    def __str__(self) -> str:
        return f"{self.kind} → {self.external_userid}"


class CustomerAlias(models.Model):
    """A former address: what move_customer leaves behind."""

    old_customer_id = models.BigIntegerField("原客户编号", primary_key=True)
    customer_id = models.BigIntegerField("客户编号", db_index=True)
    created_at = models.DateTimeField("迁移时间", default=timezone.now)

    class Meta:
        db_table = "customer_aliases"
        verbose_name = "客户别名"
        verbose_name_plural = "客户别名"

    def __str__(self) -> str:
        return f"{self.old_customer_id} → {self.customer_id}"


class Tombstone(models.Model):
    """That somebody was erased: an HMAC of the external_userid and the time, nothing more."""

    digest = models.BinaryField("摘要", max_length=32, primary_key=True)
    erased_at = models.DateTimeField("删除时间", default=timezone.now)

    class Meta:
        db_table = "tombstones"
        verbose_name = "删除凭证"
        verbose_name_plural = "删除凭证"

    def __str__(self) -> str:
        return bytes(self.digest).hex()[:12]


class Erasure(models.Model):
    """A request to erase a customer, and what has been cleared. external_userid is blanked when it is done."""

    class State(models.TextChoices):
        RUNNING = "running", "进行中"
        DONE = "done", "已完成"

    id = models.UUIDField("编号", primary_key=True, default=uuid.uuid4)
    external_userid = models.TextField("外部联系人ID", blank=True)
    digest = models.BinaryField("摘要", max_length=32, db_index=True)
    requested_by = models.CharField("申请人", max_length=128)
    requested_at = models.DateTimeField("申请时间", default=timezone.now)
    finished_at = models.DateTimeField("完成时间", null=True, blank=True)
    state = models.CharField("状态", max_length=8, choices=State.choices, default=State.RUNNING)
    places = models.JSONField("清除位置", default=dict, help_text="{place: {rows, at}}")
    waiting_for = models.JSONField("等待", default=list, help_text="homes that could not be reached")

    class Meta:
        db_table = "erasures"
        verbose_name = "客户删除"
        verbose_name_plural = "客户删除"
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return str(self.id)


class ImportProgress(models.Model):
    """How far the import of a file has come, so that one that was killed is taken up where it stood.

    A file is known by its contents: another name is the same import, other contents are another.
    """

    class Kind(models.TextChoices):
        CUSTOMERS = "customers", "客户"
        BEHAVIOURS = "behaviours", "行为"
        IDENTITIES = "identities", "身份"

    kind = models.CharField("类型", max_length=10, choices=Kind.choices)
    source = models.CharField("来源", max_length=64, blank=True)
    digest = models.BinaryField("内容摘要", max_length=32)
    file_name = models.CharField("文件", max_length=255)
    # Lines of the file that are done, and the bytes that the file of rejects had then.
    lines = models.BigIntegerField("已处理行数", default=0)
    rejected_bytes = models.BigIntegerField(default=0)
    counts = models.JSONField("结果", default=dict, help_text="{fate: rows}")
    started_at = models.DateTimeField("开始时间", default=timezone.now)
    updated_at = models.DateTimeField("更新时间", default=timezone.now)
    finished_at = models.DateTimeField("结束时间", null=True, blank=True)

    class Meta:
        db_table = "import_progress"
        verbose_name = "数据导入"
        verbose_name_plural = "数据导入"
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "source", "digest"], name="import_of_a_file_once"),
        ]

    def __str__(self) -> str:
        return self.file_name


class Audit(models.Model):
    """Who read a mobile in clear, exported, erased, moved. The subject is an HMAC, so that it outlives an erasure."""

    at = models.DateTimeField("时间", default=timezone.now, db_index=True)
    actor = models.CharField("操作人", max_length=128)
    action = models.CharField("操作", max_length=64)
    subject = models.CharField("对象", max_length=64, blank=True, db_index=True)
    detail = models.JSONField("详情", default=dict)

    class Meta:
        db_table = "audit"
        verbose_name = "审计日志"
        verbose_name_plural = "审计日志"
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.action} {self.actor}"
