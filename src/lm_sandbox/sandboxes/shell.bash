# A shell that stays: runs what the server sends, one piece after the other, and tells how each ended.
#
# usage: bash -c THIS bash FOLDER
#
# Descriptor 0 is where the server sends: a number and a command, each ended by a NUL. On descriptor 3 it
# is told: "d", the number, the exit status and the folder; or, when bash ends, a byte 1, "c" and the folder,
# then a byte 1, "s" and commands that make another bash know what this one knew. Both are put aside while the loop runs, where bash closes them in
# every program: commands have 0, 1 and 2, and what they print is never taken for an answer.

__lm_return() { return "$1"; }

__lm_tell_state() {
  builtin printf '\1c%s\0\1s' "$PWD"
  builtin shopt -p
  builtin declare -p
  builtin declare -f
  builtin declare -Fx
  builtin alias -p
  builtin umask -p
  builtin printf 'cd -- %q\n' "$PWD"
  builtin printf 'set --'
  builtin printf ' %q' "$@"
  builtin printf '\n'
  builtin trap -p
  builtin set +o
  builtin printf '\0'
}

# Where bash leaves the loop before it ends, the descriptors are back in their first places.
__lm_leave() {
  {
    __lm_status=$?
    unset __lm_number __lm_command LM_SANDBOX_COMMAND
    __lm_tell_state "$@" >&51 || __lm_tell_state "$@" >&3
  } 2>/dev/null
  if { __lm_return "$__lm_status"; } 2>/dev/null; then builtin eval "$__lm_exit"; else builtin eval "$__lm_exit"; fi
}

# Commands may set a trap of their own for the end; it runs after ours.
trap() {
  builtin trap "$@"
  {
    local status=$? found
    if [[ $BASHPID == "$$" ]]; then
      found=$(builtin trap -p EXIT)
      if [[ $found != *__lm_leave* ]]; then
        builtin eval "local -a words=($found)"
        __lm_exit=${words[2]}
        builtin trap '__lm_leave "$@"' EXIT
      fi
    fi
  } 2>/dev/null
  return "$status"
}

builtin shopt -s expand_aliases
builtin cd -- "$1" 2>/dev/null || builtin cd /workspace 2>/dev/null || builtin cd /
shift
__lm_exit=
__lm_status=0
builtin trap '__lm_leave "$@"' EXIT
builtin trap 'exit 124' RTMAX

# What is put aside gets the lowest numbers from 10 on; those are for the commands.
builtin eval exec {10..49}'<&3'
{
  builtin eval exec {10..49}'<&-'
  while {
    IFS= builtin read -r -d '' -u 50 __lm_number && IFS= builtin read -r -d '' -u 50 __lm_command
  } 2>/dev/null; do
    if { __lm_return "$__lm_status"; } 2>/dev/null; then
      eval "$__lm_command"
    else
      eval "$__lm_command"
    fi
    {
      __lm_status=$?
      builtin printf 'd%s %s %s\0' "$__lm_number" "$__lm_status" "$PWD" >&51 || exit
    } 2>/dev/null
  done
} </dev/null 3>&-
