"""Requests about the machine, texts and given commands: they change nothing."""

from random import Random

from nano.names import Names
from nano.scenario import Intent, Scenario, Step, says

DISTROS = (
    "Debian GNU/Linux 12 (bookworm)", "Debian GNU/Linux 13 (trixie)", "Ubuntu 22.04.5 LTS", "Ubuntu 24.04.1 LTS",
    "Ubuntu 20.04.6 LTS", "Fedora Linux 41 (Workstation Edition)", "Alpine Linux v3.20", "Arch Linux",
    "Rocky Linux 9.4 (Blue Onyx)", "openSUSE Tumbleweed", "Linux Mint 21.3", "Kali GNU/Linux Rolling",
    "Red Hat Enterprise Linux 9.4 (Plow)", "Ubuntu 22.04 LTS", "NixOS 24.05 (Uakari)", "Pop!_OS 22.04 LTS",
)  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
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


FACTS = [
    fact("home", "echo $HOME", "Your home folder is {}.", ("/home/NAME", "/root", "/home/sandbox"), """
    [what is|what's|where is|where's|tell me|show|show me|print|give me] my [home|home directory|home folder|home dir|home path]
    [home directory|home folder|home dir|where is home|which is my home directory|what folder is my home]
    """),
    fact("path", "echo $PATH", "The search path is {}.", ("/usr/local/bin:/usr/bin:/bin", "/usr/bin:/bin", "/home/NAME/bin:/usr/bin:/bin"), """
    [what is|what's|tell me|show|show me|print|give me|display] [my|the] [search path|path variable|executable path|command path|program search path]
    [where does the shell look for programs|in which folders are programs searched|which folders are on my path|what is on my path|what's in my path|path?|my path|show my path|what is my path|print my path]
    """),
    fact("shell", "bash --version | head -n 1", "The shell is {}.", ("GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)", "GNU bash, version 5.SMALL.1(1)-release (aarch64-unknown-linux-gnu)"), """
    [what|which] shell [is this|am i using|do i have|am i in|is running|are we using|do you use|is it|do you run|runs my commands|version is this|is used here]
    [what is|what's|tell me|show|show me|print] [the|my|your] [shell|shell version|version of the shell|default shell|current shell|login shell]
    [shell|shell version|which shell|what shell|is this bash|is this bash or zsh|my shell]
    """),
    fact("who", "who", "Those are the users who are logged in.", None, """
    [who is|who else is|who's|which users are|who all is|is anybody else|is anyone|is anyone else] logged in [|here|right now|on this machine|at the moment]
    [list|show|show me|print] [the |all |]logged in users
    """),
    fact("timezone", "date +%Z", "The time zone is {}.", ("UTC", "CET", "EST", "PST"), """
    [what|which] [time zone|timezone] [is this|is set|are we in|do we have|am i in|is it|does this machine use]
    [what is|what's|tell me|show|print] [the |my ][time zone|timezone]
    [timezone|time zone|tz]
    """),
    fact("epoch", "date +%s", "It is {} seconds since 1970.", ("17SMALL", "1893456SMALL", "1700000SMALL"), """
    [what is|what's|tell me|show|print|give me|get] the [unix time|epoch|unix timestamp|epoch time|current unix time|time in seconds since 1970|unix epoch]
    [unix time|epoch|epoch seconds|unix timestamp|seconds since 1970|how many seconds since 1970|posix time]
    """),
    fact("gpu", "nvidia-smi", "That is the graphics card.", ("[exit code 127]\nbash: line 1: nvidia-smi: command not found",), """
    [is there|do we have|do i have|does this machine have|have you got|do you have|are there any|does this box have] [a gpu|gpus|a graphics card|an nvidia card|any gpu|a video card|cuda]
    [what|which] [gpu|graphics card|video card] [is this|do we have|does this machine have|is installed|is there|do i have]
    [gpu|nvidia-smi|gpu info|gpu status|graphics card|show the gpu|show me the gpu|check the gpu]
    """),
    fact("limits", "ulimit -a", "Those are the limits.", None, """
    [show|show me|print|list|what are|display|tell me] [the|my|all|all the] [limits|resource limits|ulimits|process limits|shell limits|limits of this shell]
    [ulimit|ulimits|limits|which limits do i have|what limits are set]
    """, 0.6),
    fact("programs", "ls /usr/bin", "Those are the programs.", None, """
    [what|which] [programs|commands|tools|binaries|executables|software] [are installed|can i use|are there|are available|do you have|do we have|can i run|exist here|are on this machine|is installed]
    [list|show|show me|print] [all |the |all the |][installed programs|available commands|installed tools|available programs|commands|programs|installed software]
    """, 0.8),
    fact("packages", "pip list", "Those are the Python packages.", ("[exit code 127]\nbash: line 1: pip: command not found", "Package Version\n------- -------\npip     23.SMALL"), """
    [list|show|show me|which|what|what are the|print] [|all |the |installed ][python packages|python modules|pip packages|python libraries] [|are installed|installed|are there|do we have]
    [pip list|python packages|is numpy installed in python|installed python packages]
    """, 0.5),
]  # fmt: skip


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
    [what is|what's|tell me|show|show me|print|give me|display|get] [the |this machine's |my ][hostname|host name|machine name|computer name|server name|network name|name of this machine|name of this host|name of the computer]
    """),
    fact("kernel", "uname -r", "The kernel is {}.", ("VERSION",), """
    [what|which] [linux kernel|kernel|kernel version|kernel release|version of the kernel|linux version|version of linux] [is this|is running|do we have|are we on|runs here|is it|do you run|is in use|does this machine run|is installed|are you running|am i on]
    [what is|what's|tell me|show|show me|print|give me|display|get|check] [the |][kernel|kernel version|linux kernel version|kernel release|linux kernel|version of the kernel|running kernel]
    [kernel|kernel version|uname -r|linux kernel version|kernel release|which kernel|kernel?]
    """, 1.2),
    fact("distro", ". /etc/os-release; echo $PRETTY_NAME", "This is {}.", ("DISTRO",), """
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
    [memory|ram|free|free -h|memory usage|free memory|ram usage|is there enough memory|are we low on memory|is memory left|available ram|free ram|memory info|mem|swap|how much swap is there|swap usage|is there free memory|am i running out of memory|available memory]
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
    *FACTS,
    fact("net", "ping -c 1 8.8.8.8", "The network works.", (
        "[exit code 2]\nping: connect: Network is unreachable", "[exit code 127]\nbash: line 1: ping: command not found",
        "[exit code 1]\nping: 8.8.8.8: Network is unreachable"), f"""
    {ISNET} [internet|network|internet access|network access|internet connection|network connection|web access|connection to the internet]
    [is the network up|is the internet reachable|are you online|are we online|am i online|does the network work|does the internet work|are you connected to the internet|can you access the internet|do you have internet|is there internet here|can you go online]
    """),
]  # fmt: skip
