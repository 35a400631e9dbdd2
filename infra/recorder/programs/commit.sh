#!/bin/sh
# Commits a change to the repository in the current folder; repacks it at every twelfth commit. $1: folder with texts.
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=recorder GIT_AUTHOR_EMAIL=recorder@localhost
export GIT_COMMITTER_NAME=recorder GIT_COMMITTER_EMAIL=recorder@localhost
[ -d repo/.git ] || { git init -q repo; git -C repo config gc.auto 0; }
cd repo
count=$(cat .git/recorder-count 2>/dev/null || echo 0)
offset=$((count * 37 % 4000 + 1))
tail -n +$offset "$1/log-s.txt" | head -n 1500 > "part-$((count % 20)).txt"
git add -A
git commit -q --allow-empty -m "change $count"
echo $((count + 1)) > .git/recorder-count
[ $((count % 12)) -ne 0 ] || git gc -q
