"""Requests about programs, given commands and addresses; they change nothing."""

from random import Random

from nano.names import EXTENSIONS, SYSTEM_DIRS, Names
from nano.scenario import Intent, Scenario, Step, failed, literal, says

PROGRAMS = [
    "python3",
    "git",
    "gcc",
    "bash",
    "node",
    "npm",
    "curl",
    "wget",
    "vim",
    "nano",
    "perl",
    "ruby",
    "make",
    "docker",
    "java",
    "go",
    "rustc",
    "cargo",
    "tar",
    "gzip",
    "sed",
    "awk",
    "grep",
    "ssh",
    "rsync",
    "ffmpeg",
    "php",
    "cmake",
    "jq",
    "zip",
    "htop",
    "tmux",
    "sqlite3",
    "psql",
    "clang",
    "pip",
    "pip3",
    "uv",
    "julia",
    "R",
    "lua",
    "emacs",
    "screen",
]


def _version(names: Names, rng: Random) -> Scenario:
    program = rng.choice(PROGRAMS) if rng.random() < 0.85 else names.stem().split(".")[0]
    command = f"{program} -version" if program == "java" else f"{program} --version"
    told = f"{program} {rng.randint(0, 30)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"
    if rng.random() < 0.25:
        told = f"[exit code 127]\nbash: line 1: {program}: command not found"
    elif rng.random() < 0.4:
        told += rng.choice(
            ["\nCopyright (C) the authors", " (main)", f"\nbuilt with gcc {rng.randint(9, 15)}.1"]
        )
    slots = {"x": {"python3": rng.choice(["python", "python3", "Python"])}.get(program, program)}
    return Scenario("version", slots, (Step(command, says(f"That is the version of {program}."), told),))


def _installed(names: Names, rng: Random) -> Scenario:
    program = rng.choice(PROGRAMS) if rng.random() < 0.8 else names.stem().split(".")[0]

    def said(told: str) -> str:
        if told == "[exit code 1]":
            return f"{program} is not installed."
        return failed(told) or f"{program} is installed: {told}"

    told = rng.choice(
        ["[exit code 1]", f"/usr/bin/{program}", f"/usr/local/bin/{program}", f"/bin/{program}"]
    )
    return Scenario("installed", {"x": program}, (Step(f"command -v {program}", said, told),))


def _variable(names: Names, rng: Random) -> Scenario:
    known = [
        "HOME",
        "PATH",
        "USER",
        "SHELL",
        "LANG",
        "PWD",
        "EDITOR",
        "TERM",
        "DISPLAY",
        "LOGNAME",
        "JAVA_HOME",
        "PYTHONPATH",
        "TMPDIR",
        "OLDPWD",
    ]
    name = (
        rng.choice(known) if rng.random() < 0.7 else names.stem().replace("-", "_").replace(".", "_").upper()
    )
    value = rng.choice(
        ["/home/sandbox", "C.UTF-8", "[no output]", f"/{names.stem()}/{names.stem()}", names.stem()]
    )
    slots = {"v": name if rng.random() < 0.7 else f"${name}"}
    said = says(f"{name} is {{}}.", f"{name} is not set.")
    return Scenario("variable", slots, (Step(f"echo ${name}", said, value),))


def _script(names: Names, rng: Random) -> Scenario:
    ending, runner = rng.choice(
        [("py", "python3"), ("sh", "bash"), ("py", "python3"), ("js", "node"), ("pl", "perl")]
    )
    path = names.path(ending)
    body = {"py": "print('hi there')\n", "sh": "echo hi there\n"}.get(ending, "")
    files: dict[str, str | None] = {path: body} if rng.random() < 0.8 and path[0] != "/" else {}
    said = says(f"That is what {path} printed.", f"{path} ran and printed nothing.")
    return Scenario("run_script", {"p": path}, (Step(f"{runner} {path}", said),), files)


def given_command(names: Names, rng: Random) -> str:
    """Draws a harmless command line as people type it themselves; none that is an intent of its own."""
    path, folder, word = names.path(), names.directory(), names.word()
    return rng.choice([
        "ls -la", "ls -l", "ls -a", f"ls {folder}", f"ls -la {folder}", f"ls -l {path}", f"ls -lh {folder}",
        f"cat {path}", f"head {path}", f"head -n {names.few()} {path}", f"tail -n {names.few()} {path}",
        f"wc -l {path}", f"wc {path}", f"grep {word} {path}", f"grep -n {word} {path}", f"grep -rn {word} {folder}",
        f"echo {names.text()}", f"echo {literal(names.text())}", f"du -sh {folder}", f"stat {path}", f"file {path}",
        f"find {folder} -name '*.{rng.choice(EXTENSIONS)}'", f"find . -name {names.file()}", f"sort {path}",
        f"sort {path} | uniq -c", f"cat {path} | wc -l", f"ls {rng.choice(SYSTEM_DIRS)} | head",
        f"echo $(({names.number()} + {names.number()}))", f"python3 -c 'print({names.number()} * {names.number()})'",
        "true", "false", f"test -f {path}; echo $?", f"ls -la {path}", f"cut -d: -f1 {path}", f"cat {path} {names.path()}",
        f"date +%{rng.choice('YmdHMSjs')}", f"printf '%s\\n' {word}", f"base64 {path}", f"diff {path} {names.path()}",
        f"exit {rng.randint(0, 9)}",
    ])  # fmt: skip


def _given(kind: str) -> Intent:
    def make(names: Names, rng: Random) -> Scenario:
        command = given_command(names, rng)
        told = "[no output]" if command.startswith("sleep") else None
        step = Step(command, says("That is the output.", "Done; it printed nothing."), told)
        return Scenario(kind, {"c": command}, (step,))

    phrases = {
        "given": """
        [run|execute|exec|do|try|start|launch|perform|please run|run the command|execute the command|run this|run this command|execute this|can you run|could you execute|use|invoke|type|call|evaluate] [|: |- ]`{c}`
        [run|execute|exec|run the command|execute the command|run this command:|run this:|execute:|run:|command:|bash:|shell:|$|please run|please execute|execute this:|try the command] {c}
        [what does|what is the output of|what happens with|what do you get from|show me the output of|show the output of|tell me what you get from] `{c}` [|please]
        [run|execute] "{c}" [|in the shell|in bash|in the sandbox|for me]
        """,
        "bare": "{c}",
    }[kind]  # fmt: skip
    return Intent(kind, phrases, make, weight=2.2)


INTENTS = [
    Intent("version", """
    [what|which] version of {x} [is installed|is this|do we have|do you have|is there|is it|have we got|is available|am i running|are we using|runs here|is here|is on this machine]
    [what|which] {x} version [is installed|is this|do we have|do you have|is there|is it|have we got|is available|am i running|are we using|runs here|is here|is on this machine|do i have]
    [what is|what's|tell me|show|show me|print|give me|get|check] the [version of {x}|{x} version|installed version of {x}|installed {x} version|version of {x} here]
    [{x} version|version of {x}|{x} --version|{x} version?|which version of {x}]
    [what|which] version [of|has] {x} [do i have|do we have|is installed here|have i got|is on here|is this machine running|is set up|is in use|does this machine have|has]
    {x} [version|version please|version?|what version|version number|--version|-v version]
    [version|version number|the version|release] of {x} [|please|here|installed]
    [how new is|how recent is|how old is] {x}
    [which|what] {x} [do we have|do i have|is this|is installed|is here|is in use|am i running] [|, version wise]
    [print|show|tell me|give me|check|find out|get|i need|i want to know] [the |which |what |][version of {x}|{x} version|{x} version number|{x}'s version|version {x} has|version number of {x}]
    """, _version, weight=1.5),
    Intent("installed", """
    is {x} [installed|available|there|here|installed here|on this machine|present|on the path|in the path|available here|installed on this machine|usable]
    [do we have|do you have|have we got|have you got|is there|do i have|can i use|can you use|does this machine have|does this box have|got|you have|is there a] {x} [|here|installed|on this machine|available]
    [check|check if|check whether|tell me if|see if|test if|find out if|see whether|test whether|tell me whether] {x} is [installed|available|there|present|on the path|here]
    [where is the program|where is the binary|where is the command|which|where is the executable|what is the path of the program|path of the command|full path of|command -v|where's the program] {x}
    where [is|does|can i find] [|the ][{x}|{x} program|program {x}|{x} binary|{x} command|command {x}|{x} executable] [located|installed|on this machine|on the system|stored|kept]
    [locate the program|locate the command|find the program|find the binary|location of the program|location of the binary|path of the binary] {x}
    [where is {x} installed|where does {x} live|what is the path to {x}|where is the {x} binary|where is the {x} program|where is the {x} command|{x} installed?]
    [where|where exactly] [is|do i find|can i find|did they install|does it have] [|the program |the command |the binary |the executable ]{x} [|installed|located|on this system|on disk|stored|living|in the system]
    [full path|path|location|the path|the full path|install location] [to|of|for] [|the program |the command |the binary |the executable ]{x}
    [which|command -v|which is|type] {x}
    [is|do we have|do i have|does this machine have|does this system have|have i|got] [|the program |the command |the tool ]{x} [|installed|available|here|installed here|on here|on this box|at all|on this system]
    [is {x} on this system|is {x} on here|is {x} here|is {x} there|does {x} exist here|can i run {x}|could i use {x}|is {x} in my path|is the command {x} available|does the command {x} exist|is it possible to use {x}|is {x} set up|can i use {x} here|do you have {x} here]
    [check|see|find out|tell me|test|let me know|verify] [if|whether] [|the program |the command |the tool ]{x} [is installed|is available|is there|is here|exists|is on this machine|works here|can be used]
    """, _installed, weight=2.2),
    Intent("variable", """
    [what is|what's|show|show me|print|tell me|echo|give me|display|get|read] [|the |the value of |the variable |the environment variable |the env var |the content of |my |the value of the variable ]{v} [|set to|environment variable|variable|env var]
    [what is|what is the variable|what is the value that] {v} [is |]set to
    [value of|echo|variable|printenv|environment variable|env var] {v}
    is [|the variable |the environment variable ]{v} set
    [what is|what's|whats|show|print|tell me|give me|display|echo|read out|get|check] [|me |the ][value of |content of |contents of |environment variable |env variable |env var |variable |variable called |value of the variable |value of the environment variable |]{v} [|variable|set to|env var|environment variable|in the environment]
    [what|which value] [is|has|does] [|the variable |the environment variable |the env var ]{v} [set to|right now|hold|contain|have|at the moment]
    [is|was] {v} [set|defined|set to something|set in my environment|exported]
    [value of|content of|the value of|the variable|env|env var|my] {v}
    """, _variable),
    Intent("run_script", """
    [run|execute|start|launch|exec|please run|call|try|invoke|fire up] [|the script |the file |the program |my script |script |the python script |the code in ]{p} [|for me|please|now]
    [what is the output of|what happens when you run|what happens if i run|what happens if you run|show me what happens when you run] {p}
    [can you run|could you run|let's run|i want to run|i'd like to run|run my program] {p}
    [run|execute|start|launch|try out|try|test] [|my |the |this |that |our ][script|program|file|python script|bash script|shell script|code|python program] [|called |named ]{p} [|and show me what it prints|and show the output|and tell me the output|for me|now]
    [what|which output] does [|the script |the program ]{p} [print|output|give|do when you run it|say when you run it|return|produce]
    [i want|i'd like|i need] [to run|to execute|to start|to launch|you to run] [|the script |the program |the file |my script ]{p}
    [run it: {p}|run file {p}|run script {p}|run {p} please|run {p} and show me the result|can u run {p}|execute file {p}|python {p}|python3 {p}|bash {p}|start up {p}|fire up {p}|kick off {p}]
    """, _script, weight=1.5),
    _given("given"),
    _given("bare"),
]  # fmt: skip
