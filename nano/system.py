"""Requests about the machine, texts and given commands: they change nothing."""

from random import Random

from nano.names import EXTENSIONS, SYSTEM_DIRS, SYSTEM_FILES, Names
from nano.reading import lines
from nano.scenario import Intent, Scenario, Step, failed, literal, quoted, says

DISTROS = (
    "Debian GNU/Linux 12 (bookworm)", "Debian GNU/Linux 13 (trixie)", "Ubuntu 22.04.5 LTS", "Ubuntu 24.04.1 LTS",
    "Ubuntu 20.04.6 LTS", "Fedora Linux 41 (Workstation Edition)", "Alpine Linux v3.20", "Arch Linux",
    "Rocky Linux 9.4 (Blue Onyx)", "openSUSE Tumbleweed", "Linux Mint 21.3", "Kali GNU/Linux Rolling",
    "Red Hat Enterprise Linux 9.4 (Plow)", "Ubuntu 22.04 LTS", "NixOS 24.05 (Uakari)", "Pop!_OS 22.04 LTS",
)  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
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
TELL = "[what is|what's|tell me|show|show me|print|give me|display|get|check|find out|i need|i want to know|do you know|report]"


def fact(kind: str, command: str, answer: str, told: tuple[str, ...] | None, phrases: str,
         weight: float = 1.0) -> Intent:  # fmt: skip
    """Makes an intent that always runs the same command; `told` holds results seen elsewhere."""

    def make(names: Names, rng: Random) -> Scenario:
        result = None
        if told is not None and rng.random() < 0.7:
            result = _vary(rng.choice(told), names, rng)
        return Scenario(kind, {}, (Step(command, says(answer), result),))

    return Intent(kind, phrases, make, weight=weight)


def _vary(template: str, names: Names, rng: Random) -> str:
    return (
        template.replace("NAME", names.stem())
        .replace("PATH", "/".join(["", *(names.stem() for _ in range(rng.randint(1, 3)))]))
        .replace("DISTRO", rng.choice(DISTROS))
        .replace("DAY", rng.choice(DAYS))
        .replace("DATE", f"{rng.choice(DAYS)[:3]} {rng.choice(MONTHS)} {rng.randint(1, 31):2} "
                         f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02} "
                         f"{rng.choice(['UTC', 'UTC', 'CET', 'EST'])} {rng.randint(2023, 2035)}")
        .replace("VERSION", f"{rng.randint(3, 7)}.{rng.randint(0, 30)}.{rng.randint(0, 200)}"
                            f"{rng.choice(['', '-generic', '-amd64', '-' + str(rng.randint(1, 150)) + '-generic'])}")
        .replace("SMALL", str(rng.randint(1, 256)))
    )  # fmt: skip


def _version(names: Names, rng: Random) -> Scenario:
    program = rng.choice(PROGRAMS) if rng.random() < 0.85 else names.stem().split(".")[0]
    command = f"{program} -version" if program == "java" else f"{program} --version"
    told = rng.choice([None, f"{program} {rng.randint(0, 30)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"])
    slots = {"x": {"python3": rng.choice(["python", "python3", "Python"])}.get(program, program)}
    return Scenario("version", slots, (Step(command, says(f"That is the version of {program}."), told),))


def _installed(names: Names, rng: Random) -> Scenario:
    program = rng.choice(PROGRAMS) if rng.random() < 0.8 else names.stem().split(".")[0]

    def said(told: str) -> str:
        if told == "[exit code 1]":
            return f"{program} is not installed."
        return failed(told) or f"{program} is installed: {told}"

    told = rng.choice(["[exit code 1]", f"/usr/bin/{program}", f"/usr/local/bin/{program}", None])
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
    value = rng.choice([None, "[no output]", f"/{names.stem()}/{names.stem()}", names.stem()])
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
    """Draws a harmless command line as people type it themselves."""
    path, folder, word = names.path(), names.directory(), names.word()
    return rng.choice([
        "ls", "ls -la", "ls -l", "ls -a", f"ls {folder}", f"ls -la {folder}", f"ls -l {path}", "pwd", "whoami", "id", "date",
        f"cat {path}", f"cat {rng.choice(SYSTEM_FILES)}", f"head {path}", f"head -n {names.few()} {path}", f"tail -n {names.few()} {path}",
        f"wc -l {path}", f"wc {path}", f"grep {word} {path}", f"grep -n {word} {path}", f"grep -rn {word} {folder}", "uname -a", "uname -r",
        "uname -m", "hostname", "uptime", "df -h", "free -m", "free -h", "ps aux", "ps -ef", "env", "nproc", "lscpu", "groups",
        f"echo {names.text()}", f"echo {literal(names.text())}", f"seq {names.few()}", f"du -sh {folder}", f"stat {path}", f"file {path}",
        f"find {folder} -name '*.{rng.choice(EXTENSIONS)}'", f"find . -name {names.file()}", f"sort {path}", f"sort {path} | uniq -c",
        f"cat {path} | wc -l", f"ls {rng.choice(SYSTEM_DIRS)} | head", f"echo $(({names.number()} + {names.number()}))",
        f"python3 -c 'print({names.number()} * {names.number()})'", f"sleep {rng.randint(1, 5)}", "true", "false", f"which {rng.choice(PROGRAMS)}",
        f"{rng.choice(PROGRAMS)} --version", f"test -f {path}; echo $?", f"ls -la {path}", f"cut -d: -f1 {path}", f"cat {path} {names.path()}",
        f"date +%{rng.choice('YmdHMSAjs')}", f"printf '%s\\n' {word}", f"base64 {path}", f"diff {path} {names.path()}", f"exit {rng.randint(0, 9)}",
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
        [run|execute] ["{c}"|'`{c}`'] [|in the shell|in bash|in the sandbox|for me]
        """.replace("""["{c}"|'`{c}`']""", '"{c}"'),
        "bare": "{c}",
    }[kind]  # fmt: skip
    return Intent(kind, phrases, make, weight=2.2)


def text_intent(kind: str, command: str, answer: str, phrases: str) -> Intent:
    """Makes an intent that works on a text `{t}` itself."""

    def make(names: Names, rng: Random) -> Scenario:
        text = names.text()
        shown = rng.choice([text, f'"{text}"', f"'{text}'"])
        step = Step(command.replace("{t}", literal(text)), says(answer))
        return Scenario(kind, {"t": shown}, (step,))

    return Intent(kind, phrases, make, weight=1.4)


def _numbers(names: Names, rng: Random) -> Scenario:
    del names
    last = str(rng.choice([3, 5, 10, 20, 50, 100, rng.randint(2, 40)]))
    return Scenario(
        "seq", {"n": last}, (Step(f"seq {last}", says(f"Those are the numbers from 1 to {last}.")),)
    )


def _range(names: Names, rng: Random) -> Scenario:
    del names
    first = rng.randint(0, 90)
    last = first + rng.randint(1, 20)
    step = Step(f"seq {first} {last}", says(f"Those are the numbers from {first} to {last}."))
    return Scenario("range", {"a": str(first), "b": str(last)}, (step,))


def _random(names: Names, rng: Random) -> Scenario:
    most = str(rng.choice([6, 10, 20, 100, 1000, rng.randint(2, 500)]))
    del names
    step = Step(f"echo $((RANDOM % {most} + 1))", says("The number is {}."))
    return Scenario("random", {"n": most}, (step,))


def _sleep(names: Names, rng: Random) -> Scenario:
    del names
    n = str(rng.randint(1, 60))
    return Scenario("sleep", {"n": n}, (Step(f"sleep {n}", says("", f"I waited {n} s."), "[no output]"),))


def _site(names: Names, rng: Random) -> str:
    return rng.choice(["google.com", "example.com", "github.com", "8.8.8.8", "1.1.1.1", "wikipedia.org",
                       names.stem().lower().split(".")[0].replace("_", "-") + rng.choice([".com", ".org", ".io", ".net"])])  # fmt: skip


def _fetch(names: Names, rng: Random) -> Scenario:
    url = rng.choice(["https://", "http://", "https://www.", ""]) + _site(names, rng)
    if rng.random() < 0.4:
        url += f"/{names.file()}"
    host = url.split("//")[-1].split("/")[0]
    step = Step(f"curl -sS {url}", says("That is what the address gave."),
                rng.choice([None, f"[exit code 6]\ncurl: (6) Could not resolve host: {host}"]))  # fmt: skip
    return Scenario("fetch", {"u": url}, (step,))


def _ping(names: Names, rng: Random) -> Scenario:
    site = _site(names, rng)
    told = [
        f"[exit code 2]\nping: {site}: Temporary failure in name resolution",
        "[exit code 127]\nbash: line 1: ping: command not found",
        "[exit code 1]\nping: connect: Network is unreachable",
    ]
    return Scenario("ping", {"u": site}, (Step(f"ping -c 1 {site}", says("It answers."), rng.choice(told)),))


def _archive(names: Names, rng: Random) -> Scenario:
    path = names.path(rng.choice(["tar.gz", "tgz", "tar"]))
    told = rng.choice(
        [
            f"{names.folder()}/\n{names.file()}",
            f"[exit code 2]\ntar: {path}: Cannot open: No such file or directory",
        ]
    )
    return Scenario(
        "archive", {"p": path}, (Step(f"tar -tf {path}", says(f"That is what {path} holds."), told),)
    )


ISNET = "[is there|do we have|do you have|have you got|is there any|check the|check for|test the|test for|can you reach the]"
INTENTS = [
    fact("whoami", "whoami", "You are {}.", ("NAME", "root", "sandbox", "user", "ubuntu"), """
    [who am i|whoami|which user am i|what user am i|who am i logged in as|what user is this|which user is this|what account is this|who is the current user|what is the current user|current user|what's my user|under which user do you run|who are you running as|as which user do commands run|what user are you running as|as who are you running]
    [what is|what's|tell me|show|show me|print|give me|display|get|do you know|check] [my|the current|the] [user name|username|user|login|login name|account name|logged in user]
    [which|what] user [runs this|runs the commands|is logged in|is running this|am i logged in as|are we|are you|do we run as|do commands run as|is this shell running as]
    """),
    fact("pwd", "pwd", "You are in {}.", ("PATH", "/workspace", "/home/NAME", "/"), """
    [where am i|pwd|where are we|which folder am i in|what folder am i in|which directory am i in|what directory is this|which directory is this|which folder is this|what folder is this|in which folder are we|in which directory am i|what is my location|what's my location|where in the file system am i|current path|cwd|current directory|current folder|working directory]
    [what is|what's|tell me|show|show me|print|give me|display|get] [the |my |our |][current|present|working|current working] [directory|folder|dir|path|location]
    [which|what] [folder|directory|path] [are we in|are we working in|do we work in|am i in right now|are you in|is the current one]
    """),
    fact("hostname", "hostname", "This machine is called {}.", ("NAME", "NAME", "sandbox"), """
    [hostname|host name|what is this machine called|what's this computer called|what is this computer called|what is this box called|how is this machine called|name of this machine|name of this computer|which machine is this|what machine is this|which host is this|what host am i on|on which machine are we|which computer am i on|what is the machine called]
    [what is|what's|tell me|show|show me|print|give me|display|get] [the |this machine's |my |the computer's |the machine's |the server's ][hostname|host name|machine name|computer name|server name|network name|name of this machine|name of this host|name of the computer]
    """.replace("[the |this machine's |my |the computer's |the machine's |the server's ]", "[the |this machine's |my ]")),
    fact("kernel", "uname -r", "The kernel is {}.", ("VERSION",), """
    [what|which] [linux kernel|kernel|kernel version|kernel release|version of the kernel|linux version|version of linux] [is this|is running|do we have|are we on|runs here|is it|do you run|is in use|does this machine run|is installed|are you running|am i on]
    [what is|what's|tell me|show|show me|print|give me|display|get|check] [the |][kernel|kernel version|linux kernel version|kernel release|linux kernel|version of the kernel|running kernel]
    [kernel|kernel version|uname -r|linux kernel version|kernel release|which kernel|kernel?]
    """, 1.2),
    fact("distro", ". /etc/os-release; echo $PRETTY_NAME", "This is {}.", ("DISTRO",), """
    [what|which] linux [is this|is it|is here|is this box|is installed|do we have|are we on]
    [what|which] [linux|distro|distribution|linux distribution|linux distro|operating system|os|flavour of linux|flavor of linux|kind of linux|version of ubuntu or debian|release of the os|system] [is this|is it|are we on|am i on|are you on|is running|is running here|runs here|is installed|is installed here|do you run|do we run|am i using|are you running|are we using|does this machine run|does this box run|is this machine running|is this box running|have we got here|do you have|is used here]
    [what is|what's|tell me|show|show me|print|give me|display|get|check|identify|name] [the |your |][distro|linux distribution|distribution|operating system|os|os version|os release|linux distro|os name|name of the operating system|operating system version|distro version|distribution and version|name of the distribution]
    [distro|os version|which linux|which os|what os|what linux|which distro|what distro|os release|cat the os release|is this debian or ubuntu|is this ubuntu|is this debian|are we on ubuntu|am i on debian|is it ubuntu or debian|is this linux debian|what's the os here|what system is it]
    """, 2.0),
    fact("arch", "uname -m", "The architecture is {}.", ("x86_64", "aarch64", "armv7l", "riscv64"), """
    [what|which] [architecture|cpu architecture|processor architecture|arch|machine architecture|hardware architecture] [is this|is it|does this machine have|are we on|do we have|does this computer use|has this machine|is this machine]
    [what is|what's|tell me|show|show me|print|give me] the [architecture|cpu architecture|machine type|processor architecture|system architecture|hardware platform]
    [arch|architecture|uname -m|is this x86 or arm|is this arm|is this a 64 bit machine|is this 64 bit|32 or 64 bit|is it arm or intel|machine architecture]
    """),
    fact("cpus", "nproc", "This machine has {} CPUs.", ("SMALL",), """
    how many [cpus|cores|processors|cpu cores|processor cores|cpu's|threads|virtual cpus|logical cores|CPUs|CPU cores] [are there|does this machine have|do we have|do i have|are available|have we got|does this computer have|can i use|are in this machine|does it have|has this machine|has this box|does this box have|are here|are usable|do you have]
    [number of|count the|count of|what is the number of|tell me the number of|the number of|total number of|show the number of|print the number of] [cpus|cores|processors|cpu cores|CPUs]
    [nproc|cpu count|core count|cpus?|how many cores|how many cpus|how many processors|cores?]
    """),
    fact("cpu_model", "grep -m1 'model name' /proc/cpuinfo", "That is the CPU model.", None, """
    [what|which] [cpu|processor|cpu model|processor model|kind of cpu|kind of processor|type of processor|chip] [is this|is in this machine|does this machine have|do we have|is it|is installed|am i running on|are we running on|is in here|is used|runs here]
    [what is|what's|tell me|show|show me|print|give me] the [cpu model|processor|cpu|processor model|cpu name|processor name|cpu type|model of the cpu|name of the processor]
    [cpu model|processor model|which cpu|which processor|cpu info|processor info|cpu name|info about the cpu]
    """),
    fact("memory", "free -h", "That is the memory.", None, """
    how much [memory|ram|RAM|free memory|free ram|main memory|system memory] [is free|is left|is there|do we have|do i have|is available|does this machine have|is used|is in use|can i use|have we got|does this box have|does this box have free|is being used|are we using|does this computer have|is there in total|is still free|has this machine|do we have left]
    [what is|what's|tell me|show|show me|print|give me|display|check|get|how is] the [memory|ram|memory usage|ram usage|memory use|free memory|available memory|amount of memory|amount of ram|memory consumption|memory status|total memory|memory situation|free ram]
    [memory|ram|free|free -h|memory usage|free memory|ram usage|is there enough memory|are we low on memory|is memory left|available ram|free ram|memory info|mem|is there free memory|am i running out of memory|available memory]
    """, 1.5),
    fact("disk", "df -h", "That is the disk space.", None, """
    how much [disk space|space|disk|free space|free disk space|hard disk space|storage|room|hard drive space] [is free|is left|is there|do we have|do i have|is available|does this machine have|is used|is in use|can i use|have we got|is left on the disk|is free on the disk|is there on disk|remains|do i have left|is left on this machine|is still free|is there left]
    [what is|what's|tell me|show|show me|print|give me|display|check|get|how is] the [disk space|disk usage|free disk space|free space|storage|disk use|available disk space|storage space|free space on the disk|file system usage|disk space usage|remaining disk space|available space]
    [disk space|disk usage|df|df -h|free space|free disk space|is the disk full|how full is the disk|how full are the disks|is there space left|is there enough disk space|storage|disk|do i have enough space|mounted file systems|show mounted file systems|how full is the drive|is there disk space left|is the drive full|space left]
    """, 1.5),
    fact("processes", "ps aux", "Those are the processes.", None, """
    [what|which] [processes|programs|jobs|tasks] [are running|run|are running here|are active|run here|are running now|are running right now|are alive]
    [what is|what's] running [|here|right now|now|on this machine|at the moment|in the background]
    [list|show|show me|print|display|give me|see] [|the |all |all the |the list of |a list of ][running processes|processes|running programs|active processes|process list|process table|running tasks]
    [ps|ps aux|processes|process list|running processes|top processes|how many processes are running, list them|task list]
    """),
    fact("uptime", "uptime", "That is the uptime.", None, """
    how long [has this machine been up|has this been running|has the system been running|has the machine been on|is the machine up|is this machine up|has the computer been running|has this box been up|has the server been up|have you been up|is the system up|has it been up|has the system been up]
    [what is|what's|tell me|show|show me|print|give me] the [uptime|system uptime|up time|machine uptime]
    [uptime|up since when|since when is the machine up|when was the last reboot|when did this machine start|when was this machine started|when did the machine boot|since when is this running|when was the system booted]
    """),
    fact("date", "date", "It is {}.", ("DATE",), """
    [what time is it|what's the time|what is the time|what is the date|what's the date|what is the date today|what's today's date|what is today's date|what date is it|what date is it today|what date is today|what time do we have|do you know the time|do you know what time it is|do you have the time|tell me the time|tell me the date|tell me what time it is|what is the current time|what's the current date|current time|current date|date|time|date and time|time and date|today's date|time please|what time is it right now|what is the time now|which date is it|how late is it|what year is it|what year is this|what month is it|which month is it|what month are we in|which year are we in]
    [show|show me|print|give me|display|get|check] [the |][current |][date|time|date and time|time and date|clock|system time|timestamp]
    """, 1.5),
    fact("weekday", "date +%A", "Today is {}.", ("DAY",), """
    [what|which] [day|weekday|day of the week] [is it|is it today|is today|do we have today|of the week is it|of the week is it today|of the week is today|is this|of the week do we have|are we on]
    [is today a|is it] [monday|friday|sunday|weekend|saturday]
    [what's the|what is the|tell me the|print the|show the|name the] [day of the week|weekday|current weekday|day today|day of the week today]
    [weekday|day of week|today's weekday|what weekday]
    """),
    fact("id", "id", "That is your user and your groups.", None, """
    [what|which] groups [am i in|do i belong to|is my user in|am i a member of|does my user have|are mine]
    [what is|what's|show|show me|tell me|print|give me] my [user id|uid|uid and gid|id|ids|groups|user id and groups|numeric user id|group id|group ids]
    [id|uid|my uid|my groups|my id|am i root|am i the root user|do i have root|do i have root rights|are we root|are you root|is this root|do i have admin rights]
    """),
    fact("users", "cut -d: -f1 /etc/passwd", "Those are the users of this system.", None, """
    [list|show|show me|print|display|give me|what are|which are] [|all |all the |the ][users|user accounts|system users|user names|usernames|accounts|users on this system|users of this system|users on this machine|local users]
    [what|which] [users|accounts|user accounts] [exist|are there|exist here|does this system have|are on this machine|are known|does this machine have|exist on this system]
    [users|user list|list users|all users]
    """),
    fact("load", "cat /proc/loadavg", "That is the load average.", None, """
    [what is|what's|show|show me|tell me|print|check|how is|how high is] the [load|load average|system load|cpu load|machine load|average load|current load]
    how [busy|loaded|stressed] is [this machine|the machine|the system|the cpu|the server|this computer|the computer|this box]
    [load average|load|cpu load|system load|loadavg]
    """),
    fact("ip", "hostname -I", "The addresses are {}.", ("[no output]", "10.0.SMALL.SMALL", "192.168.SMALL.SMALL"), """
    [what is|what's|show|show me|tell me|print|give me|get|find] [my|the|our|this machine's|your] [ip|ip address|IP address|IP|network address|local ip|ip addresses|local ip address]
    [which|what] ip [do i have|does this machine have|address do i have|address does this machine have|do we have]
    [ip|ip address|my ip|ip addresses|hostname -I]
    """),
    fact("env", "env", "Those are the environment variables.", None, """
    [list|show|show me|print|display|give me|what are|dump|see] [|all |all the |the |my |me the ][environment variables|env vars|environment|env variables|env|variables of the environment|shell variables]
    [env|printenv|environment variables|environment|which environment variables are set|what environment variables are set|what is in the environment|what's in the environment|what is my environment]
    """),
    fact("boot_id", "cat /proc/sys/kernel/random/boot_id", "That is the boot id.", None, """
    [what is|what's|tell me|show|show me|print|give me|get|read|display] the [boot id|boot ID|kernel's boot id|boot_id|boot identifier|kernel boot id|current boot id|boot id of the kernel|boot id of this machine|boot id of this system]
    [boot id|boot_id|which boot id does the kernel have|what boot id is it]
    """),
    Intent("version", """
    [what|which] version of {x} [is installed|is this|do we have|do you have|is there|is it|have we got|is available|am i running|are we using|runs here|is here|is on this machine]
    [what|which] {x} version [is installed|is this|do we have|do you have|is there|is it|have we got|is available|am i running|are we using|runs here|is here|is on this machine|do i have]
    [what is|what's|tell me|show|show me|print|give me|get|check] the [version of {x}|{x} version|installed version of {x}|installed {x} version|version of {x} here]
    [{x} version|version of {x}|{x} --version|{x} version?|which {x}, i mean which version|how old is {x}|how new is {x}|which version of {x}]
    """.replace("|which {x}, i mean which version", "").replace("|how old is {x}|how new is {x}", ""), _version, weight=1.8),
    Intent("installed", """
    is {x} [installed|available|there|here|installed here|on this machine|present|on the path|in the path|available here|installed on this machine|usable]
    [do we have|do you have|have we got|have you got|is there|do i have|can i use|can you use|does this machine have|does this box have] {x} [|here|installed|on this machine|available]
    [check|check if|check whether|tell me if|see if|test if|find out if|see whether|test whether|tell me whether] {x} is [installed|available|there|present|on the path|here]
    [where is the program|where is the binary|where is the command|which|where is the executable|what is the path of the program|path of the command|full path of|command -v|where's the program] {x}
    [where is {x} installed|where does {x} live|what is the path to {x}|where is the {x} binary|where is the {x} program|where is the {x} command|{x} installed?]
    """, _installed, weight=1.3),
    Intent("variable", """
    [what is|what's|show|show me|print|tell me|echo|give me|display|get|read] [|the |the value of |the variable |the environment variable |the env var |the content of |my |the value of the variable ]{v} [|set to|environment variable|variable|env var]
    [what is|to what is|what is the variable] {v} set to
    [value of|echo|variable|printenv|environment variable|env var] {v}
    is [|the variable |the environment variable ]{v} set
    """.replace("[what is|to what is|what is the variable] {v} set to", "[what is|what is the variable|what is the value that] {v} [is |]set to"), _variable),
    Intent("run_script", """
    [run|execute|start|launch|exec|please run|call|try|invoke|fire up] [|the script |the file |the program |my script |script |the python script |the code in ]{p} [|for me|please|now]
    [what does|what is the output of|what happens when you run|what does the script|show me what happens when you run|what does the program] {p} [|, run it|print, run it]
    [can you run|could you run|let's run|i want to run|i'd like to run|run my program] {p}
    """.replace("[what does|what is the output of|what happens when you run|what does the script|show me what happens when you run|what does the program] {p} [|, run it|print, run it]", "[what is the output of|what happens when you run|what happens if i run|what happens if you run|show me what happens when you run] {p}"), _script, weight=1.5),
    _given("given"),
    _given("bare"),
    text_intent("echo", "echo {t}", "It printed: {}", """
    [print|echo|say|output|write out|display|print out|repeat] [|the text |the words |the message |the string |the phrase ]{t} [|to the screen|on the screen|to the terminal|in the terminal|to stdout]
    [use echo to print|let the shell print|make the shell say|have bash print|make bash say|let bash say] {t}
    """),
    text_intent("upper", "echo {t} | tr a-z A-Z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [upper case|uppercase|capital letters|capitals|all caps|caps|big letters|upper-case|upper case letters]
    [uppercase|upcase|capitalize all of|capitalise all letters of|make uppercase|upper case of|shout|all caps] [|the text |the words |the string ]{t}
    {t} in [upper case|uppercase|capital letters|all caps|capitals]
    """),
    text_intent("lower", "echo {t} | tr A-Z a-z", "{}", """
    [convert|change|turn|transform|put|write|make|translate] [|the text |the words |the string |the phrase ]{t} [to|into|in] [lower case|lowercase|small letters|lower-case|lower case letters]
    [lowercase|downcase|make lowercase|lower case of] [|the text |the words |the string ]{t}
    {t} in [lower case|lowercase|small letters]
    """),
    text_intent("rev", "echo {t} | rev", "{}", """
    [reverse|mirror|flip|turn around|spell backwards] [|the text |the word |the words |the string |the letters of |the characters of |the phrase ]{t}
    [write|spell|print|say|show] {t} [backwards|in reverse|reversed|from back to front|from right to left]
    [what is|what's] {t} [backwards|reversed|spelled backwards|in reverse]
    """),
    text_intent("length", "echo -n {t} | wc -c", "It has {} characters.", """
    how [long is|many characters does|many letters does|many characters has|many letters has|many characters are in|many letters are in] [the text|the word|the string|the words|the phrase|the sentence] {t} [|have]
    [length of|count the characters of|count the letters of|count the letters in|count the characters in|what is the length of|number of characters in|number of letters in] [the text|the word|the string|the words|the phrase|the sentence] {t}
    """),
    text_intent("base64", "echo -n {t} | base64", "That is the text in Base64.", """
    [encode|convert|turn|put|translate] [|the text |the words |the string ]{t} [in|to|into|as|with] [base64|base 64|Base64]
    [base64|base64 encode|base64-encode|base64 of|what is the base64 of] [|the text |the string ]{t}
    {t} in base64
    """),
    Intent("seq", """
    [count|count up|count from 1|print the numbers from 1|show the numbers from 1|list the numbers from 1|numbers from 1|count from one|print numbers 1|give me the numbers from 1|write the numbers 1] to {n}
    [seq|print the first|list the first|show the first|give me the first] {n} [numbers|whole numbers|integers|natural numbers]
    """.replace("[seq|print", "[print"), _numbers),
    Intent("range", """
    [count|print the numbers|show the numbers|list the numbers|numbers|print numbers|count up|list all numbers|print all numbers|give me the numbers|write the numbers] from {a} to {b}
    [numbers|all numbers|the numbers|print the numbers|list the numbers] between {a} and {b}
    """, _range),
    Intent("random", """
    [give me|pick|generate|draw|choose|show|print|make|i need|roll|tell me] [a|one|some] [random number|random integer|random whole number|number at random] [between 1 and|from 1 to|up to|from one to|in the range 1 to|below or equal to|between one and] {n}
    [random number|random integer] [between 1 and|from 1 to|up to] {n}
    [roll|throw] a [die|dice] with {n} sides
    """.replace("|below or equal to", "").replace("[roll|throw] a [die|dice] with {n} sides", "roll a die with {n} sides"), _random),
    Intent("sleep", """
    [sleep|wait|pause|do nothing|rest|hold on|take a break] [for |][{n} seconds|{n} s|{n} sec|{n} secs]
    """, _sleep),
    Intent("fetch", """
    [fetch|download|get|curl|load|open|visit|read|access|request|show|show me|retrieve|pull] [|the page |the url |the website |the web page |the address ]{u}
    [what is at|what's at|what is on|what's on|what does the page] {u} [|say]
    """.replace("|what does the page] {u} [|say]", "] {u}").replace("|get|", "|").replace("|open|visit|read|access|request|show|show me|", "|visit|"), _fetch),
    Intent("ping", """
    [ping|can you ping|can you reach|is|try to reach|try to ping|are you able to reach|check the connection to|test the connection to|is there a connection to|can i reach] {u} [|reachable|online|please]
    """.replace("|is|", "|").replace("[|reachable|online|please]", "[|please]"), _ping),
    fact("net", "ping -c 1 8.8.8.8", "The network works.", (
        "[exit code 2]\nping: connect: Network is unreachable", "[exit code 127]\nbash: line 1: ping: command not found",
        "[exit code 1]\nping: 8.8.8.8: Network is unreachable"), f"""
    {ISNET} [internet|network|internet access|network access|internet connection|network connection|web access|connection to the internet]
    [is the network up|is the internet reachable|are you online|are we online|am i online|does the network work|does the internet work|are you connected to the internet|can you access the internet|do you have internet|is there internet here|can you go online]
    """),
    Intent("archive", """
    [what is|what's|list what is|list the files|show the files|list files|which files are|what files are|show what is|list the contents, what is] [in|inside|inside of] the [archive|tarball|tar file|tar archive|compressed archive] {p}
    [list|show] the [contents|content|files] of the [archive|tarball|tar file|tar archive] {p}
    """.replace("|list the contents, what is", ""), _archive),
    Intent("system_file", """
    [show|print|cat|display|read|what is in|what's in|show me|output|view|what does {q} say, show|tell me what is in|give me|get] {q}
    """.replace("|what does {q} say, show", ""), lambda names, rng: _system_file(rng), weight=0.8),
]  # fmt: skip


def _system_file(rng: Random) -> Scenario:
    path = rng.choice(SYSTEM_FILES)
    step = Step(f"cat {path}", says(f"That is the content of {path}.", f"{path} is empty."))
    return Scenario("show", {"q": path}, (step,), subject=path)


__all__ = ["INTENTS", "given_command", "lines", "quoted"]
