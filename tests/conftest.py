import pytest


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory):
    """Let no test write where the service of whoever runs it keeps its data."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_DATA_DIR", str(folder))
        yield folder
