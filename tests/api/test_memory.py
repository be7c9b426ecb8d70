"""The memory of a control group, in every way in which the kernel may tell it."""

from api.memory import GroupMemory, group_memory

V1 = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V2 = "41 31 0:38 {root} {at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
OTHER = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct"


def machine(root, groups, mounts):
    process = root / "proc/self"
    process.mkdir(parents=True)
    (process / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    (process / "mountinfo").write_text("".join(f"{line}\n" for line in [OTHER, *mounts]))
    return root


def group(folder, version, used, idle, limit=None):
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {idle}\n")
        (folder / "memory.max").write_text("max\n" if limit is None else f"{limit}\n")
    else:
        (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {idle}\n")
        limit = 9223372036854771712 if limit is None else limit
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")


def test_version_2_in_a_container(tmp_path):
    root = machine(tmp_path, ["0::/"], [V2.format(root="/", at="/sys/fs/cgroup")])
    group(root / "sys/fs/cgroup", 2, used=800, idle=300, limit=1000)
    assert group_memory(root) == GroupMemory(usage=500, limit=1000)


def test_version_2_on_a_machine_is_bound_by_the_least_limit_above(tmp_path):
    root = machine(tmp_path, ["0::/a/b"], [V2.format(root="/", at="/sys/fs/cgroup")])
    top = root / "sys/fs/cgroup"
    group(top / "a/b", 2, used=800, idle=300)
    group(top / "a", 2, used=900, idle=300, limit=5000)
    assert group_memory(root) == GroupMemory(usage=500, limit=5000)


def test_version_1_without_a_limit(tmp_path):
    root = machine(tmp_path, ["4:memory:/a", "0::/"], [V1.format(root="/")])
    group(root / "sys/fs/cgroup/memory/a", 1, used=800, idle=300)
    assert group_memory(root) == GroupMemory(usage=500, limit=None)


def test_version_1_in_a_container_that_sees_its_part_of_the_hierarchy(tmp_path):
    root = machine(tmp_path, ["4:memory:/docker/abc"], [V1.format(root="/docker/abc")])
    group(root / "sys/fs/cgroup/memory", 1, used=800, idle=300, limit=2000)
    assert group_memory(root) == GroupMemory(usage=500, limit=2000)


def test_where_both_are_mounted_the_one_with_the_controller_counts(tmp_path):
    mounts = [V2.format(root="/", at="/sys/fs/cgroup/unified"), V1.format(root="/")]
    root = machine(tmp_path, ["4:memory:/a", "0::/b"], mounts)
    (root / "sys/fs/cgroup/unified/b").mkdir(parents=True)
    group(root / "sys/fs/cgroup/memory/a", 1, used=800, idle=300, limit=2000)
    assert group_memory(root) == GroupMemory(usage=500, limit=2000)


def test_nothing_is_told_where_nothing_is_known(tmp_path):
    assert group_memory(tmp_path) is None
    root = machine(tmp_path, ["0::/"], [V2.format(root="/", at="/sys/fs/cgroup")])
    (root / "sys/fs/cgroup").mkdir(parents=True)
    assert group_memory(root) is None
