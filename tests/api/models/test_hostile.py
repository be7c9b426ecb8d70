"""Uploads that mean harm: refused, or stored and compiled like any other; the service lives."""

from support.model_calls import digest_of, post_model, settled, stored
from support.mutants import mutant
from support.stored import files, made, zipped

MUTANTS = 60


def test_damaged_files_are_refused_or_stored_whole_and_leave_nothing_else(server, tmp_path):
    """Half of them in a zip with a manifest, half bare."""
    stored(server)
    accepted, refused = {}, 0
    for number in range(MUTANTS):
        how, data = mutant(20, number)
        packed = zipped(files(f"m{number}") | {"graph.nir": data}) if number % 2 else data
        reply = post_model(server, packed)
        assert reply.status_code in (200, 201, 422), (how, reply.text)
        told = reply.json()
        if reply.status_code == 422:
            refused += 1
            assert told["field"] or told["violations"], told
            assert "Traceback" not in reply.text
        else:
            accepted[told["digest"]] = f"{told['name']}:{told['version'] or told['digest']}"
    assert refused > MUTANTS // 3
    for digest, reference in accepted.items():
        told = settled(server, reference)
        assert told["state"] in ("ready", "failed")
        assert told["digest"] == digest
    store = tmp_path / "store"
    records = list(store.glob("models/*/versions/*.json"))
    assert len(records) == len(accepted) + 1
    assert not list(store.glob(".parts/*"))
    assert len(list(store.glob("files/*"))) == len(records)
    assert digest_of(server, "small") == made().digest
    assert not server.client.get("/v1/models").json()["problems"][1:]


def test_a_zip_with_paths_of_others_is_only_read_for_its_model(server, tmp_path):
    strange = files() | {"../../evil": b"x", "/etc/evil": b"x", "samples/index.yaml": b"x"}
    reply = post_model(server, zipped(strange))
    assert reply.status_code == 201
    assert reply.json()["digest"] == made().digest
    assert not list(tmp_path.rglob("*evil*"))
