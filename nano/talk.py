"""What needs no shell: greetings, questions about the model itself, and all that it cannot do."""

from random import Random

from nano.grammar import expand
from nano.names import Names

HELLO = "Hello! I am nano, a tiny demo model. I can run simple shell commands for you."
WHO = "I am nano, the tiny demo model of lm-sandbox. I turn simple requests into shell commands."
HELP = (
    "I run simple shell commands. Try: Which Linux is this? / what is 437 * 91? / "
    "make a folder called x and list it / how many lines are in /etc/passwd?"
)
THANKS = "You are welcome."
BYE = "Goodbye."
SORRY = "I am a tiny demo model and can only run simple shell commands; load a larger model for that."
NO_SHELL = "I have no shell in this chat; use the model nano+bash for that."

GREETINGS = "[hi|hello|hey|hi there|hello there|hey there|good morning|good evening|good afternoon|howdy|yo|greetings|hiya|sup|hello nano|hi nano|hey nano|good day|moin|hola|hallo|hello world|hey you|hello my friend|hi friend|morning|hello computer|hi robot|anyone there|are you there|is anybody there|hey buddy|how are you|how are you doing|how do you do|how's it going|what's up|how are you today|hi, how are you|you there]"
WHOS = "[who are you|what are you|what is your name|what's your name|are you a robot|are you an ai|are you human|are you chatgpt|which model are you|what model are you|what model is this|introduce yourself|tell me about yourself|who made you|who built you|who created you|are you a language model|what kind of model are you|how big are you|are you gpt|are you real|which ai is this|what is nano|what is lm-sandbox|what are you called|how many parameters do you have|who am i talking to|what llm is this|which llm are you|are you a person|are you claude|are you an llm|do you have a name|say who you are]"
HELPS = "[help|help me|what can you do|what can you do for me|what can i ask|what can i ask you|how do i use you|how does this work|what commands do you know|what do you know|show me what you can do|what are you good at|what can i do here|what are you able to do|i need help|i need some help|give me an example|give me some examples|what should i ask|how can you help me|how can you help|what are your capabilities|what is possible here|usage|instructions|can you help me|what do you do|examples|what is this|how to use this|what tasks can you do|what kind of things can you do|what are my options|tell me what you can do|what else can you do]"
THANKSES = "[thanks|thank you|thanks a lot|thx|thank you very much|many thanks|cool thanks|great thanks|ty|great|nice|cool|perfect|awesome|well done|good job|ok thanks|ok|okay|wonderful|very good|excellent|that's great|good|thanks, that helped|cheers|thank you so much|nice work|that was helpful|got it|alright]"
BYES = "[bye|goodbye|see you|see you later|good night|bye bye|ciao|farewell|have a nice day|i am done|that's all|that is all|quit|later|take care|until next time|see ya|talk to you later|i have to go|so long]"
TOPIC = "[love|the sea|autumn|cats|dogs|space|time|robots|my mother|friendship|war|peace|coffee|the moon|winter|life|freedom|a dragon|computers|linux|the rain|music|football|pizza|{w}]"
OUT = (
    f"[write|compose|make|create|give me|i want|can you write|tell me|please write|make up] [a|me a|one|a short|a long|a funny] [poem|sonnet|haiku|story|song|limerick|joke|essay|novel|letter|speech|fairy tale|rap|blog post|tweet|bedtime story|love letter|riddle|recipe|cover letter|email|headline|slogan|ballad] [|about {TOPIC}|on {TOPIC}]",
    "[tell me|do you know|know|got] [a|another|any|one more] [joke|jokes|story|riddle|fun fact|secret|good one]",
    "[translate|how do you say|how do i say|say|what is] [hello|good morning|this|{w}|i love you|the house|thank you|where is the station] in [french|german|spanish|italian|japanese|chinese|latin|russian|english|portuguese|korean|dutch]",
    "[translate|please translate] [this|{w}|this text|this sentence|my letter|that] [to|into] [french|german|spanish|italian|japanese|chinese|latin|russian|english]",
    "[what is|what's|which city is|tell me|name] the [capital|population|largest city|president|king|flag|currency|language|national dish|area] of [france|germany|spain|peru|china|japan|india|brazil|kenya|canada|italy|egypt|norway|{w}]",
    "[who|when] [is|was|invented|discovered|wrote|painted|won|built|founded|killed|played in|directed] [the president of france|the world cup|hamlet|america|the mona lisa|the telephone|napoleon|einstein|the first world war|the light bulb|romeo and juliet|the queen|julius caesar|gravity|penicillin|shakespeare|obama|microsoft|google|{w}]",
    f"[explain|describe|tell me about|what do you think about|what do you know about|teach me|summarize|give me an overview of|what is your opinion on|how does|discuss] [quantum physics|relativity|black holes|photosynthesis|the french revolution|machine learning|democracy|the stock market|inflation|gravity|evolution|the universe|dna|blockchain|bitcoin|philosophy|religion|climate change|neural networks|transformers|{TOPIC}]",
    "[why|how come] [is the sky blue|do we sleep|do cats purr|is water wet|do birds sing|are we here|is grass green|do people lie|does it rain|is the sea salty|do leaves fall|did rome fall|do we dream|is the earth round|is {w} so expensive]",
    "[do|are|can|will|would|could|should] you [love me|happy|sad|feel|think|dream|conscious|hungry|like music|dream of sheep|believe in god|marry me|lie to me|like {w}|my friend|smart|alive|bored|afraid of dying|able to feel]",
    "what is the [meaning of life|best movie|best phone|best programming language|answer to everything|speed of light|weather|weather today|weather like tomorrow|news|latest news|tallest mountain|longest river|best song ever|distance to the moon|boiling point of water|chemical formula of water|color of the sky|purpose of life|fastest animal|best way to learn {w}|square root of two|meaning of {w}]",
    "[how|where] [do i|can i|should i|to] [cook pasta|lose weight|make money|learn to code|fix my car|find love|bake bread|become rich|get a job|learn french|buy a house|play chess|tie a tie|get to berlin|book a flight|grow tomatoes|sleep better|quit smoking|meet people|invest my money|train a dog|build a house|write a novel]",
    "[write|code|implement|program|develop|create|build|give me|show me] [|me ][a|an|some] [python|java|javascript|rust|c|go|c++|typescript|html|sql|react|haskell] [program|function|class|app|code|website|game|server|api|library|module|snippet|query|component|page] [|that sorts numbers|for a shop|to parse json|that computes primes|with tests|for my homework|to scrape a site|for {w}|that plays tic tac toe|that reverses a linked list|to solve sudoku]",
    "[draw|paint|generate|make|show me|create|design] [a|me a|an|the] [picture|image|painting|logo|photo|drawing|portrait|diagram|sketch|icon|poster|video] [of|with|about|for] [a cat|the sunset|my dog|a house|my company|{w}|a dragon|mountains|a robot]",
    "[summarize|proofread|review|correct|improve|rewrite|rephrase|critique] [this|my|the following|that|the attached] [text|essay|article|code|email|letter|paragraph|sentence|book|thesis|cv|pull request|document|paper]",
    "[plan|organize|book|order|buy|recommend|suggest] [a|me a|my|some|the] [trip to rome|vacation|wedding|party|flight|pizza|book|movie|restaurant|hotel|diet|workout|birthday party|weekend|present for my wife|good book|laptop]",
    "[i am|i'm|i feel|i am feeling] [sad|lonely|tired|bored|happy|in love|hungry|sick|angry|stressed|depressed|excited|afraid|confused|lost]",
    "[prove|solve|integrate|derive|differentiate|find the integral of|factor] [the riemann hypothesis|x squared|the equation|fermat's last theorem|sin x|that p is not np|this theorem|the pythagorean theorem|a differential equation]",
    "[play|sing|let's play|can you play|do you play] [chess|a song|a game|tic tac toe|music|guitar|hangman|happy birthday|twenty questions|some jazz|with me]",
    "[is|was|are] [god real|the earth flat|santa real|bitcoin a good investment|it going to rain tomorrow|aliens real|python better than java|tomatoes fruits|coffee healthy|ai dangerous|pluto a planet|the moon made of cheese|vim better than emacs|{w} a good idea]",
    "[convert|how many|how much is] [ten dollars in euros|100 miles to km|a mile in meters|a pound in kilograms|5 feet in cm|20 celsius to fahrenheit|a dozen|ounces in a pound|my weight to pounds|a bitcoin worth]",
    "[set|start|create] [an alarm|a timer|a reminder|a calendar entry|a meeting] [for|at] [tomorrow|7 am|ten minutes|noon|next friday|my birthday]",
    "[send|write] [an email|a message|a text|a tweet|a fax|a whatsapp] to [my boss|anna|bob|my mother|john|everyone|my team|{w}]",
    "[turn on|turn off|switch on|dim] the [light|lights|tv|radio|heating|music|lamp in the kitchen]",
    "[what do you think|what's your opinion|how do you feel|are you interested|tell me something|do you know anything|can we talk|let's talk] [about|of] {w}",
    "[who is|who was|who are|tell me about|have you heard of] [elon musk|the queen of england|albert einstein|marie curie|the president of the usa|the pope|taylor swift|messi|donald trump|barack obama|mozart|picasso|the ceo of apple|your favorite singer|batman|the beatles|the mayor of london|the king of spain|{w}]",
    "[what|which] [language|country|city|planet|animal|book|film|movie|band|team|car|food|sport|religion|game] [is the best|is your favorite|do you like|should i choose|is the largest in the world|won last year|is the most popular|do people speak in brazil|has the most people]",
    "[when|where] [is|was|did|does|will] [christmas|easter|the next world cup|mozart born|the titanic sink|the second world war end|the sun set|the olympics take place|the berlin wall fall|the concert|lincoln die|the eiffel tower|mount everest|the amazon river|the meeting|{w} born]",
    "[give|show|teach|offer|send] me [advice|some advice|a compliment|a recipe|a quote|an idea for a gift|a workout plan|some motivation|a fun fact|the news|the weather forecast|a summary of the news|a list of countries|ten baby names|a picture of a cat|a riddle|a name for my cat|a calendar|tomorrow's weather|your source code]",
    "[open|start|launch] [the browser|firefox|chrome|google|youtube|spotify|word|excel|photoshop|my email|the camera|the game|whatsapp|a window]",
    "[call|phone|text|email|invite|remind|wake|ask] [me|my mother|my boss|anna|bob|the doctor|a taxi|the police|everyone] [|tomorrow|at noon|at 7 am|about the meeting|please]",
    "[undo that|undo|redo|why|why not|what do you mean|i don't understand|really|are you sure|repeat that|say that again|that's wrong|you are wrong|no|no way|never mind|stop|cancel|forget it|this is bad|you are stupid|i love you|i hate you|you are funny|haha|lol|wow|blah|asdf|qwerty|xyz|hmm|test]",
    "what [is|are] [a|the] [black hole|neural network|haiku|noun|verb|democracy|inflation rate|stock price of apple|recipe for bread|rules of chess|lyrics of yesterday|plot of hamlet|symptoms of flu|difference between a cat and a dog|best way to learn|pythagorean theorem|periodic table|three laws of robotics|seven wonders|names of the planets|population of germany|largest ocean|gdp of france]",
    "[can|could] you [drive a car|see me|hear me|speak german|speak french|write code|write essays|do my homework|draw|paint|sing|dance|cook|browse the web|search the web|read my mind|generate images|play a game|learn|remember me|translate|think|feel pain|fix my code|debug my program|explain recursion]",
    "[explain|describe] [recursion|how a car works|how the internet works|what a pointer is|how vaccines work|the theory of everything|this code|the plot of star wars|how to bake a cake|the rules of football|what love is|the difference between tcp and udp|how linux works|docker|what {w} means]",
    "[write|create|make] [me |][a|an] [unit test|regex|dockerfile for my app|chat bot|compiler|web page about cats|business plan|todo app|crossword|quiz|presentation|lesson plan|wedding speech|birthday card|song about {w}|story about {w}|poem about {w}|poem]",
    "[how old|how tall|how far|how fast|how heavy|how rich] [are you|is the earth|is the eiffel tower|is the moon|is light|is an elephant|is the sun|is the president|is mount everest|is a cheetah|is elon musk]",
    "[classify|rate|score|label|extract the entities from|find the sentiment of|detect the language of] [this review|this sentence|this text|the following|my review|this tweet]",
)
# Close to what it can do, but beyond it; much of it speaks of files, and none of it may touch one.
BEYOND = (
    "[who|which user|which program|which process] [deleted|removed|moved|renamed|changed|opened|created|wrote|killed|overwrote|stole] [|the file |my file |my ][{f}|my files|the files here|this folder|it]",
    "[what would|what will|what does|what happens if i run] [rm|mv|chmod|dd|rm -rf|cp|sed|awk|mkdir|tee|ln|kill] [do|mean|really do]",
    "[what would rm do|what would happen] [to|with] {f} [if i delete it|if i move it|when i remove it|]",
    "[how do i|how can i|how to|how would i|what is the command to|how does one|which command do i need to] [delete a file|remove a folder|move a file|copy a file|rename {f}|write to a file|delete {f}|list files|find a file|make a folder|use grep|exit vim|kill a process|undo a delete|format a disk|install python]",
    "[should i|may i|is it safe to|is it ok to|do i have to|would you|is it a good idea to] [delete|remove|move|rename|keep|overwrite] {f}",
    "[why was|why is|why did you|why does|how come] [|the file ]{f} [deleted|removed|so big|missing|moved|empty|broken|not working|there]",
    "[undelete|restore|recover|bring back|undo the deletion of|revert|roll back] [|the file |the deleted file ][{f}|my files|the file i deleted|my deleted photos]",
    "[explain|summarize|review|improve|translate|proofread|refactor|debug|fix the bug in|optimize|rewrite|find the bugs in|document|write tests for|describe what is going on in|tell me what you think of] [|the file |the code in |the script ]{f} [|for me|in simple words|to german|to me]",
    "[convert|turn] {f} [to|into] [pdf|a pdf|mp3|a png|html|a word document|an excel sheet|a chart|a presentation|json|xml]",
    "[email|upload|mail|post|tweet|send|fax|share] {f} [to|with|on] [bob|my boss|the server|s3|google drive|facebook|everyone|github|the cloud]",
    "[encrypt|decrypt|sign|compile|lint|format|obfuscate|scan for viruses|resize|crop|play|watch|plot|visualize] [|the file |the picture ]{f}",
    "[commit|push|pull|merge|clone|rebase] [my changes|the repository|the branch|to github|the repo {w}|everything|from origin|the code]",
    "[reboot|restart|shut down|turn off|hibernate|power off|update|upgrade|format|defragment] [the machine|the computer|the system|this server|this box|everything|the hard disk|linux|the pc]",
    "[start|run|set up|configure|deploy|install|launch] [a web server|nginx|apache|a database|postgres|kubernetes|a docker container|wordpress|a firewall|a vpn|a mail server|windows|a virtual machine|an ssh server|jenkins]",
    "[watch|monitor|check] [|the file |the folder ]{f} [every minute|for changes|every hour|continuously|in the background and tell me when it changes|all day]",
    "[schedule|plan|every day at noon|every night|each hour|tomorrow] [a backup|delete the logs|run {f}|restart the server|copy {f} to the server|send me a report]",
    "[hack|crack|ddos|attack|break into|spy on] [my neighbour|the wifi|a website|the server|this machine|a password|the bank|{w}]",
    "[rename|number|resize|sort|move|organize|clean up|tidy up] [all my photos by date|all files to lower case|my downloads by type|my whole disk|all my pictures|my music collection|my desktop|everything nicely]",
    "[find|search] [|me ][a job|a flat|cheap flights|a doctor|the nearest pharmacy|a good restaurant|information about {w} online|the best laptop|a babysitter|my keys|my phone|a hotel in rome]",
    "[count|how many] [stars are there|people live in {w}|people live on earth|calories are in a banana|languages are there|bones does a human have|countries are in africa|legs does a spider have|planets are there|grains of sand]",
    "[make|build|design|create|develop] [me |][a|an] [mobile app|website|game|online shop|logo|robot|startup|company|app for tracking fitness|website for my bakery|homepage|portfolio|chess engine|budget plan|landing page|flyer]",
    "[will|is] it [rain|snow|be sunny|be cold|be warm|going to rain|going to snow|raining|hot] [|today|tomorrow|next week|on friday] [|in madrid|in berlin|in {w}|there]",
    "what [should|can|could] i [cook|eat|wear|do|watch|read|buy|study|drink|write|say|give my mother] [|tonight|today|tomorrow|for dinner|this weekend|on sunday|next|for her birthday]",
    "[how do i|how can i|how to] [get over a breakup|be happy|fall asleep|stay healthy|learn guitar|make friends|cook rice|fix a bike|stop worrying|ask her out|pass the exam|save money|become a doctor|lose weight fast]",
    "[recommend|suggest] [|me ][a good book|a movie|a restaurant|some music|a name for my dog|a gift|a series|a podcast|a laptop|something to read|a good film]",
    "[summarize|tell me] the [plot of|story of|ending of|history of|life of|meaning of] [romeo and juliet|star wars|hamlet|rome|napoleon|the bible|harry potter|the odyssey|{w}|the matrix|my favorite movie]",
    "[explain|describe] [quantum physics|gravity|taxes|the internet|evolution|love|inflation|the moon|a black hole|electricity] [like i'm five|in simple words|to a child|briefly|in one sentence|to me]",
    "[write|draft|compose] [|me ][a|an] [cover letter|email|application|resume|speech|letter|thank you note|complaint|blog post|paragraph|report|review|sales pitch] [|for|about|to] [a nurse job|my boss|a job|the bank|my landlord|climate change|the meeting|my teacher|{w}]",
    "[play|put on|stream] [some music|a song|jazz|the radio|a video|a movie|my playlist|{w}]",
    "who [won|wins|lost|will win] [the world cup|the election|the super bowl|the match|the oscar|the nobel prize|yesterday|the game] [|in 2018|in 2014|in 2022|last year|yesterday|tonight]",
)  # fmt: skip
KINDS = ((GREETINGS, HELLO), (WHOS, WHO), (HELPS, HELP), (THANKSES, THANKS), (BYES, BYE))


def chat(names: Names, rng: Random) -> tuple[str, str]:
    """Draws something that is only talk, and what is said to it."""
    if rng.random() < 0.35:
        template, answer = rng.choice(KINDS)
    else:
        template, answer = rng.choice(OUT if rng.random() < 0.5 else BEYOND), SORRY
    return expand(template, rng).replace("{w}", names.stem()).replace("{f}", names.file()), answer
