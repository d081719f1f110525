"""A corp that is started again goes on where it stood."""

from pathlib import Path

from wxwork.simulator import SimulatorServer
from wxwork.simulator.keeping import Keeper, load, save


def corp(customers: int = 30) -> SimulatorServer:
    return SimulatorServer(customers=customers, seed=7)


def test_what_has_happened_is_there_again(tmp_path: Path) -> None:
    before, after = corp(), corp()
    made = before.act("add_customer", staff="ChenSiYu", name="小雨")
    before.act("tag_rename", tag_id="ettag0102", name="白银会员")
    keeper = Keeper(before.corp, tmp_path / "corp")
    keeper.start()
    keeper.stop()
    assert load(after.corp, tmp_path / "corp")
    assert after.state.counts() == before.state.counts()
    assert after.state.customers[made["external_userid"]].name == "小雨"
    assert after.state.tags["ettag0102"].name == "白银会员"
    # What comes next is as it would have been, and reaches both sides of a relation.
    expected = before.act("add_customer", staff="LinWanQing")["external_userid"]
    assert after.act("add_customer", staff="LinWanQing")["external_userid"] == expected
    after.act("edit_customer", external_userid=made["external_userid"], userid="ChenSiYu", remark="老客户")
    assert after.state.find_staff("ChenSiYu").relations[made["external_userid"]].remark == "老客户"
    assert after.state.customers[made["external_userid"]].relations[0].remark == "老客户"


def test_another_company_or_half_a_file_is_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "corp"
    save(corp().corp, path)
    assert not load(corp(customers=31).corp, path)
    path.write_bytes(path.read_bytes()[:-100])
    server = corp()
    assert not load(server.corp, path)
    assert not load(server.corp, tmp_path / "nothing")
    assert server.state.counts() == corp().state.counts()
