"""Temporary."""
import os, shutil, fcntl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
@dataclass(frozen=True)
class Entry:
    name: str
    size: int
    modified: datetime
    is_folder: bool
class LocalStorage:
    def read_bytes(self, path): return Path(path).read_bytes()
    def write_bytes(self, path, data):
        p=Path(path); p.parent.mkdir(parents=True, exist_ok=True); t=p.with_name("."+p.name+".tmp"); t.write_bytes(data); os.replace(t,p)
    def open_input(self, path): return open(path,"rb")
    def exists(self, path): return Path(path).exists()
    def list(self, folder):
        return [Entry(e.name,e.stat().st_size,datetime.fromtimestamp(e.stat().st_mtime,timezone.utc),e.is_dir()) for e in os.scandir(folder)]
    def delete(self, path, recursive=False):
        shutil.rmtree(path) if recursive else Path(path).unlink()
    def write_if(self, path, check):
        old = Path(path).read_bytes() if Path(path).exists() else None
        self.write_bytes(path, check(old))
def open_storage(url): return LocalStorage()
