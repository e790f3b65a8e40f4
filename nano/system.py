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
    fact("epoch", "date +%s", "It is {} seconds since 1970.", ("17SMALL", "1893456SMALL", "1700000SMALL"), """
    [what is|what's|tell me|show|print|give me|get] the [unix time|epoch|unix timestamp|epoch time|current unix time|time in seconds since 1970|unix epoch]
    [unix time|epoch|epoch seconds|unix timestamp|seconds since 1970|how many seconds since 1970|posix time]
    [unix timestamp|unix time|epoch time|timestamp|epoch|posix timestamp|unix epoch|epoch timestamp] [right now|now|please|at the moment|of now|current|]
    [current|the current|give me the current|what is the current|show the current|print the] [unix timestamp|unix time|epoch time|epoch|posix time|epoch seconds]
    [seconds since|how many seconds since|how many seconds passed since|number of seconds since] [1970|the epoch|january 1970|unix epoch|1 january 1970]
    """),
]  # fmt: skip


INTENTS = [
    fact("whoami", "whoami", "You are {}.", ("NAME", "root", "sandbox", "user", "ubuntu"), """
    [who am i|whoami|which user am i|what user am i|who am i logged in as|what user is this|which user is this|what account is this|who is the current user|what is the current user|current user|what's my user|under which user do you run|who are you running as|as which user do commands run|what user are you running as|as who are you running]
    [what is|what's|tell me|show|show me|print|give me|display|get|do you know|check] [my|the current|the] [user name|username|user|login|login name|account name|logged in user]
    [which|what] user [runs this|runs the commands|is logged in|is running this|am i logged in as|are we|are you|do we run as|do commands run as|is this shell running as]
    [my|the current|what is my|what's my|whats my|tell me my|show my|print my] [user name|username|user|login name|account name|account|login] [|please|here|on this machine]
    [as which user|as what user|as whom|under what name|under which account|with which user] [am i|are we|am i logged in|are we logged in|do i work|am i working|are you logged in]
    [who am i|who am i here|who am i on this machine|who am i logged in as|tell me who i am|say who i am|who are we|which user is active|what user is active|user name please|username please|my login please|my user|user?|username?|current username|who is logged in as me]
    """),
    fact("pwd", "pwd", "You are in {}.", ("PATH", "/workspace", "/home/NAME", "/"), """
    [where am i|pwd|where are we|which folder am i in|what folder am i in|which directory am i in|what directory is this|which directory is this|which folder is this|what folder is this|in which folder are we|in which directory am i|what is my location|what's my location|where in the file system am i|current path|cwd|current directory|current folder|working directory]
    [what is|what's|tell me|show|show me|print|give me|display|get] [the |my |our |][current|present|working|current working] [directory|folder|dir|path|location]
    [which|what] [folder|directory|path] [are we in|are we working in|do we work in|am i in right now|are you in|is the current one]
    [give|tell|show] me the [|full |complete |absolute ]path [of|to] [the directory i am in|the directory i'm in|the current directory|the current folder|this folder|this directory|where i am|where we are|the folder i am in|the working directory]
    [print|show|tell me|display|what is|what's|whats] [the |my |our |][working dir|working directory|current dir|cwd|full path|absolute path|path of this folder|path i am in|path i'm in|path of the current folder|present working directory|directory we are in]
    [in |][which|what] [folder|directory|dir|path|place] [am i|are we|am i working|are we working|do i work|am i currently|are we currently|are you|i am|im i] [|in] [right now|now|here|at the moment|currently|]
    [where am i|where are we|where am i now|where are we now|where am i right now|where exactly am i|where is this|where in the filesystem are we|where do i stand|what is this place|full path of here|path of here|path here|the current path|the current path please|pwd please|current location|my location]
    """),
    fact("hostname", "hostname", "This machine is called {}.", ("NAME", "NAME", "sandbox"), """
    [hostname|host name|what is this machine called|what's this computer called|what is this computer called|what is this box called|how is this machine called|name of this machine|name of this computer|which machine is this|what machine is this|which host is this|what host am i on|on which machine are we|which computer am i on|what is the machine called]
    [what is|what's|tell me|show|show me|print|give me|display|get] [the |this machine's |my ][hostname|host name|machine name|computer name|server name|network name|name of this machine|name of this host|name of the computer]
    [what|which] [name has|name does|is the name of|host is|hostname has] [this machine|this computer|this box|this host|this server] [|have]
    [what is|what's|whats|how is] [this|the] [machine|computer|host|box|server|system|thing] [called|named|called here]
    [hostname|hostname please|host name please|host?|hostname?|my hostname|the hostname|name of the machine|name of the host|name of this box|computer name|machine name|the name of this computer] [|please]
    [i need|i want|give me|tell me|show me] the [name of this machine|name of the host|host's name|name of this server|name of the box]
    """),
    fact("kernel", "uname -r", "The kernel is {}.", ("VERSION",), """
    [what|which] [linux kernel|kernel|kernel version|kernel release|version of the kernel|linux version|version of linux] [is this|is running|do we have|are we on|runs here|is it|do you run|is in use|does this machine run|is installed|are you running|am i on]
    [what is|what's|tell me|show|show me|print|give me|display|get|check] [the |][kernel|kernel version|linux kernel version|kernel release|linux kernel|version of the kernel|running kernel]
    [kernel|kernel version|uname -r|linux kernel version|kernel release|which kernel|kernel?]
    [what|which] kernel [is this thing running|is this box running|does this system use|does this box use|is this system on|is installed here|is loaded|are you on|does it use|version does this run|am i running|do i run]
    [kernel|kernel version|version of kernel|linux kernel|kernel release|kernel number] [|pls|please|here|of this machine|of this system|in use]
    [tell me|show me|give me|i need|print|find out|check] [the |which |what ][kernel|kernel version|linux kernel|kernel release] [|this is|is running|is used|this machine runs|we have|version]
    [what release of the kernel is this|how new is the kernel|how old is the kernel|is the kernel new|which version of linux kernel is running|version of the linux kernel]
    """, 1.2),
    fact("distro", ". /etc/os-release; echo $PRETTY_NAME", "This is {}.", ("DISTRO",), """
    [what|which] [linux|distro|distribution|linux distribution|linux distro|operating system|os|flavour of linux|flavor of linux|kind of linux|version of ubuntu or debian|release of the os|system] [is this|is it|are we on|am i on|are you on|is running|is running here|runs here|is installed|is installed here|do you run|do we run|am i using|are you running|are we using|does this machine run|does this box run|is this machine running|is this box running|have we got here|do you have|is used here]
    [what is|what's|tell me|show|show me|print|give me|display|get|check|identify|name] [the |your |][distro|linux distribution|distribution|operating system|os|os version|os release|linux distro|os name|name of the operating system|operating system version|distro version|distribution and version|name of the distribution]
    [distro|os version|which linux|which os|what os|what linux|which distro|what distro|os release|cat the os release|is this debian or ubuntu|is this ubuntu|is this debian|are we on ubuntu|am i on debian|is it ubuntu or debian|is this linux debian|what's the os here|what system is it]
    [which|what] [linux|distro|distribution|os|operating system|flavor|system] [you got|have you got|do you use|you on|is it here|do we have here|is this box on|is on this machine|have i got|is this machine on|we have|is this thing running|is used|is this computer running]
    [what|which] [version of the operating system|version of the os|os version|version of linux|version of the distro|version of the distribution|release|linux release|linux flavor] [do i have here|do we have|is this|is it|is installed|are we on|is running here|do i have|am i on]
    [is|are we on|am i on|is it|is this|is that] [this |][debian or ubuntu|ubuntu or debian|debian|ubuntu|fedora|alpine|arch|red hat|debian or something else|a debian|an ubuntu|fedora or debian|a linux|linux or windows|windows or linux]
    [tell me|show me|i want to know|i need to know|can you tell me|give me|find out|check] [which|what|the] [linux|distro|os|operating system|distribution|linux distribution|linux version] [|this is|it is|is installed|is running|we use|we are on|you run|name|version]
    [name and version of the os|name of the os|os name|os info|os information|operating system|operating system?|distribution|the distro please|linux version|distro name|distro info|system version|about this operating system]
    """, 2.0),
    fact("arch", "uname -m", "The architecture is {}.", ("x86_64", "aarch64", "armv7l", "riscv64"), """
    [what|which] [architecture|cpu architecture|processor architecture|arch|machine architecture|hardware architecture] [is this|is it|does this machine have|are we on|do we have|does this computer use|has this machine|is this machine]
    [what is|what's|tell me|show|show me|print|give me] the [architecture|cpu architecture|machine type|processor architecture|system architecture|hardware platform]
    [arch|architecture|uname -m|is this x86 or arm|is this arm|is this a 64 bit machine|is this 64 bit|32 or 64 bit|is it arm or intel|machine architecture]
    [is|are we on|is it|is this|am i on] [it |this |][arm or x86|x86 or arm|arm|x86|an arm machine|an x86 machine|amd64|arm64|64 bit|64-bit|32 bit or 64 bit|a 64-bit system|intel or arm|arm or intel]
    [what|which] [architecture|cpu architecture|hardware|instruction set|platform|machine type] [is this|is it|are we on|does this have|is this machine|does this box have|runs here|do we have]
    [architecture|cpu architecture|arch|machine hardware name|hardware architecture|processor architecture] [|please|here|of this machine]
    """),
    fact("cpus", "nproc", "This machine has {} CPUs.", ("SMALL",), """
    how many [cpus|cores|processors|cpu cores|processor cores|cpu's|threads|virtual cpus|logical cores|CPUs|CPU cores] [are there|does this machine have|do we have|do i have|are available|have we got|does this computer have|can i use|are in this machine|does it have|has this machine|has this box|does this box have|are here|are usable|do you have]
    [number of|count the|count of|what is the number of|tell me the number of|the number of|total number of|show the number of|print the number of] [cpus|cores|processors|cpu cores|CPUs]
    [nproc|cpu count|core count|cpus?|how many cores|how many cpus|how many processors|cores?]
    how many [cpus|cores|processors|cpu cores|threads] [do we have|do i have|has it|are there|got we|has this box|are in this box|can i use|are there here|does this thing have|are online|can we use]
    [number of|count of|amount of|count the|tell me the number of|i need the number of] [cpus|cores|processors|cpu cores] [|here|in this machine|of this machine|please]
    """),
    fact("cpu_model", "grep -m1 'model name' /proc/cpuinfo", "That is the CPU model.", None, """
    [what|which] [cpu|processor|cpu model|processor model|kind of cpu|kind of processor|type of processor|chip] [is this|is in this machine|does this machine have|do we have|is it|is installed|am i running on|are we running on|is in here|is used|runs here]
    [what is|what's|tell me|show|show me|print|give me] the [cpu model|processor|cpu|processor model|cpu name|processor name|cpu type|model of the cpu|name of the processor]
    [cpu model|processor model|which cpu|which processor|cpu info|processor info|cpu name|info about the cpu]
    [what|which] [processor|cpu|processor model|cpu model|chip|kind of processor] [is inside|is inside this machine|is built in|is in this box|is in there|is this machine using|have we got|do i have|runs this|do you run on|powers this machine|is it using]
    [name|model|type|kind|make|details|info] of the [cpu|processor] [|please]
    [what is|what's|whats] [the processor|the cpu|the cpu model|the model of the processor|the name of the cpu|inside this machine as cpu]
    """),
    fact("memory", "free -h", "That is the memory.", None, """
    how much [memory|ram|RAM|free memory|free ram|main memory|system memory] [is free|is left|is there|do we have|do i have|is available|does this machine have|is used|is in use|can i use|have we got|does this box have|does this box have free|is being used|are we using|does this computer have|is there in total|is still free|has this machine|do we have left]
    [what is|what's|tell me|show|show me|print|give me|display|check|get|how is] the [memory|ram|memory usage|ram usage|memory use|free memory|available memory|amount of memory|amount of ram|memory consumption|memory status|total memory|memory situation|free ram]
    [memory|ram|free|free -h|memory usage|free memory|ram usage|is there enough memory|are we low on memory|is memory left|available ram|free ram|memory info|mem|swap|how much swap is there|swap usage|is there free memory|am i running out of memory|available memory]
    [how much|what amount of] [ram|memory|free memory|free ram] [is there|there is|have i|do we have left|is still available|is still free|is unused|have we|is in this machine|is in here|is installed|does it have|do we got|is left over]
    [please tell me|tell me|can you tell me|i want to know|i need to know|let me know|check|show me] how much [memory|ram|free memory|free ram] [is still free|is free|is left|there is|we have|is available|is used|this machine has|is in use|i have]
    [mem|memory|ram] [usage|use|free|info|status|left|stats|available|size|total|situation|consumption] [|please|here|right now]
    [are we|am i|is the machine|is it|are we running] [running out of|low on|short of|out of] [memory|ram]
    """, 1.5),
    fact("disk", "df -h", "That is the disk space.", None, """
    how much [disk space|space|disk|free space|free disk space|hard disk space|storage|room|hard drive space] [is free|is left|is there|do we have|do i have|is available|does this machine have|is used|is in use|can i use|have we got|is left on the disk|is free on the disk|is there on disk|remains|do i have left|is left on this machine|is still free|is there left]
    [what is|what's|tell me|show|show me|print|give me|display|check|get|how is] the [disk space|disk usage|free disk space|free space|storage|disk use|available disk space|storage space|free space on the disk|file system usage|disk space usage|remaining disk space|available space]
    [disk space|disk usage|df|df -h|free space|free disk space|is the disk full|how full is the disk|how full are the disks|is there space left|is there enough disk space|storage|disk|do i have enough space|mounted file systems|show mounted file systems|how full is the drive|is there disk space left|is the drive full|space left]
    [how full|how used|how empty] [is|are] [the disk|my disk|the drive|the hard disk|the disks|the filesystem|the file system|this disk|the storage]
    [disk|disk space|storage|free space|space|disk usage] [left|free|available|usage|use|, human readable|left, human readable|status|info|remaining|in human readable form|overview] [|please]
    [am i|are we|is the machine|is it] [running out of|low on|short of|out of|running low on] [disk space|space|storage|storage space|disk|room] [|on here|here] [|? show me]
    [please tell me|tell me|can you tell me|i want to know|let me know|check|show me] how much [disk space|space|storage|free space|disk|room] [is still free|is free|is left|there is|we have|is available|is used|this machine has|i have|i have left]
    [how much can i still store|is there room for more files|do i still have space|is there still space|is there enough room on the disk|will the disk be full soon|how much room is on the disk]
    """, 1.5),
    fact("processes", "ps aux", "Those are the processes.", None, """
    [what|which] [processes|programs|jobs|tasks] [are running|run|are running here|are active|run here|are running now|are running right now|are alive]
    [what is|what's] running [|here|right now|now|on this machine|at the moment|in the background]
    [list|show|show me|print|display|give me|see] [|the |all |all the |the list of |a list of ][running processes|processes|running programs|active processes|process list|process table|running tasks]
    [ps|ps aux|processes|process list|running processes|top processes|how many processes are running, list them|task list]
    [list|show|print|give me|display|i want to see|i need|let me see] [|me ][every|all|all the|the|each] [process|processes|running process|running processes|program that runs|processes that run|task|tasks|jobs] [|with its owner|with their owners|with owner|and their owners|and who runs them|on this machine|running right now|of all users]
    [what|which] [processes|programs|tasks|process] [are running|is running|are there|are active right now|run right now|are currently running|are up|do you see running|is using the cpu]
    [what's|whats|what is] [currently |][running|going on|running at the moment|being run|executing] [here|on this machine|on this box|right now|now|]
    """),
    fact("uptime", "uptime", "That is the uptime.", None, """
    how long [has this machine been up|has this been running|has the system been running|has the machine been on|is the machine up|is this machine up|has the computer been running|has this box been up|has the server been up|have you been up|is the system up|has it been up|has the system been up]
    [what is|what's|tell me|show|show me|print|give me] the [uptime|system uptime|up time|machine uptime]
    [uptime|up since when|since when is the machine up|when was the last reboot|when did this machine start|when was this machine started|when did the machine boot|since when is this running|when was the system booted]
    how long [has this box been up|has this been up|is this box up|is it up|has the host been up|is this machine on|has this machine been on|has the computer been on|has this system been running|is the computer running|has this thing been running|is the server running already]
    [since when|since what time] [is|has] [the computer|this machine|the system|this box|the server|it] [turned on|on|up|running|been up|been running|been on|switched on|booted]
    [when|at what time] [was|did|has] [this machine|the computer|this box|the system|it|the server] [booted|turned on|last booted|started|last boot|boot|restart|last restart|switched on|last rebooted]
    [uptime|system uptime|the uptime|uptime please|time since boot|time since last boot|last boot time]
    """),
    fact("date", "date", "It is {}.", ("DATE",), """
    [what time is it|what's the time|what is the time|what is the date|what's the date|what is the date today|what's today's date|what is today's date|what date is it|what date is it today|what date is today|what time do we have|do you know the time|do you know what time it is|do you have the time|tell me the time|tell me the date|tell me what time it is|what is the current time|what's the current date|current time|current date|date|time|date and time|time and date|today's date|time please|what time is it right now|what is the time now|which date is it|how late is it|what year is it|what year is this|what month is it|which month is it|what month are we in|which year are we in]
    [show|show me|print|give me|display|get|check] [the |][current |][date|time|date and time|time and date|clock|system time|timestamp]
    [got the time|have you got the time|do you have the date|whats the time|whats the date|what time|what date|what day and time is it|time now|date now|now?|what's the time now|the time please|the date please|today's date please|what is the date and time|date today|the current date and time|the exact time|what is today|what's today|which day is today by date|current date please]
    [can you|could you|please] [tell me|give me|show me|say] [the time|the date|the current time|the current date|what time it is|today's date|what date it is|the date and time|what the time is|what the date is]
    [i need|i want|i'd like] [the time|the date|the current time|the current date|today's date|to know the time|to know the date|to know what time it is]
    """, 1.5),
    fact("weekday", "date +%A", "Today is {}.", ("DAY",), """
    [what|which] [day|weekday|day of the week] [is it|is it today|is today|do we have today|of the week is it|of the week is it today|of the week is today|is this|of the week do we have|are we on]
    [is today a|is it] [monday|friday|sunday|weekend|saturday]
    [what's the|what is the|tell me the|print the|show the|name the] [day of the week|weekday|current weekday|day today|day of the week today]
    [weekday|day of week|today's weekday|what weekday]
    [what|which] [day|weekday|day of the week] [do we have|is it now|is it right now|do we have now|is it please|have we today|have we]
    [is it|is today|do we have] [monday|tuesday|wednesday|thursday|friday|saturday|sunday|the weekend] [today|now|]
    [tell me|show|print|give me|say] [|me ][the |][weekday|day of the week|name of the day|name of today|what day it is|which day it is|what weekday it is]
    """),
    fact("id", "id", "That is your user and your groups.", None, """
    [what|which] groups [am i in|do i belong to|is my user in|am i a member of|does my user have|are mine]
    [what is|what's|show|show me|tell me|print|give me] my [user id|uid|uid and gid|id|ids|groups|user id and groups|numeric user id|group id|group ids]
    [id|uid|my uid|my groups|my id|am i root|am i the root user|do i have root|do i have root rights|are we root|are you root|is this root|do i have admin rights]
    [what|which] [groups|group ids] [do i have|am i member of|do i belong to here|is my account in|are my groups]
    [am i|are we|do i have|have i got|do we run as] [root|root here|root rights|root access|superuser|a superuser|admin|an administrator|admin rights|the root user]
    [what is|what's|whats|tell me|show|print] my [uid|user id|id|numeric id|group|groups|group id|uid and groups]
    """),
    fact("ip", "hostname -I", "The addresses are {}.", ("[no output]", "10.0.SMALL.SMALL", "192.168.SMALL.SMALL"), """
    [what is|what's|show|show me|tell me|print|give me|get|find] [my|the|our|this machine's|your] [ip|ip address|IP address|IP|network address|local ip|ip addresses|local ip address]
    [which|what] ip [do i have|does this machine have|address do i have|address does this machine have|do we have]
    [ip|ip address|my ip|ip addresses|hostname -I]
    [what|which] [ip|ip address|address|ip addresses|network address] [is mine|have i got|has this machine|has this box|do we use|is used|does this host have|am i using|does this computer have]
    [ip|ip address|my ip address|local ip|the ip|network address|ip of this machine|ip of this host|address of this machine] [|please]
    """),
    fact("env", "env", "Those are the environment variables.", None, """
    [list|show|show me|print|display|give me|what are|dump|see] [|all |all the |the |my |me the ][environment variables|env vars|environment|env variables|env|variables of the environment|shell variables]
    [env|printenv|environment variables|environment|which environment variables are set|what environment variables are set|what is in the environment|what's in the environment|what is my environment]
    [show|list|print|dump|display|give me|i want to see|let me see] [|me ][all |all my |all the |every |the whole |my |][environment variable|environment variables|env vars|env variable|environment|exported variables|set variables|variables]
    [what|which] [environment variables|env vars|variables] [are set|are there|do i have|do we have|exist|are defined|are exported]
    [all env vars|all environment variables|env vars|env please|printenv|the environment|my env|run env]
    """),
    *FACTS,
]  # fmt: skip
